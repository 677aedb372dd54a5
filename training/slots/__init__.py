"""What each slot of a page should show to whom: learned from drawn slots, position by position, actions by their kinds.
"""
