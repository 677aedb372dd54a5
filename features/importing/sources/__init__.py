"""Named sources: systems whose files we know, and the general formats with a mapping file."""
