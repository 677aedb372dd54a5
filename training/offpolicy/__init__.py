"""What another policy would have brought, from decisions that were logged with their propensities.

Estimators say the value with its interval; diagnostics say when they cannot know, and then nothing is said.
"""
