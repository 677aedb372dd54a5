"""The standing experiment: is the service worth it at all, beside the customers who permanently get none of it.

Intervals stay valid however often somebody looks; what cannot be told from the data is said.
"""
