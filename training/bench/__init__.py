"""Benchmarks: each prints a table and writes the same rows as JSON."""
