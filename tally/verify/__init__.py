"""The proof: every metric of every user computed again by brute force, with another engine.

Nothing here shares SQL with the dbt project: what both get right, they got right separately.
"""

from tally.verify.command import verify

__all__ = ["verify"]
