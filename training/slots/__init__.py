"""What each slot of a page should show to whom, learned from drawn slots: place by place, actions by their kinds."""
