"""A stand-in for the game backend: seeded players who live their days, and the truth about them."""
