"""The schema of `raw`, as one linear chain of SQL files that are applied once each, in order."""

from ingest.migrations.chain import Migration, read_chain
from ingest.migrations.runner import migrate, pending

__all__ = ["Migration", "migrate", "pending", "read_chain"]
