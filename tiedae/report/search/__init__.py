"""The page of a search, and its front as text."""
