"""The embedded stack for development and demos: warehouse, broker, Postgres, supervisor."""
