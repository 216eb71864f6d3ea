"""A player's own statistics."""
