"""What an action changes: effects learned from logged decisions, policies made of them, and the gate before they serve.

`log` is the one table that everything here reads; experiments, campaigns and page slots look alike in it.
"""
