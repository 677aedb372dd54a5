"""What is known of customers and items, how it is written down, and as of when.

This package is pure: it imports numpy, pandas, pyarrow, scipy, duckdb and ibis, and nothing of ours.
"""
