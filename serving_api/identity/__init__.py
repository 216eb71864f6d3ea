"""Who the caller is, and the cards of players."""
