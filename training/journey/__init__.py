"""The journeys of all subjects of a shop: who is where, where from and where to, how long, and where people are lost.

Stages and their changes come from `features.journey` and `features.timeline`; here they are counted.
"""
