"""A request becomes ranked items, a page, an action. Imports features, never training."""
