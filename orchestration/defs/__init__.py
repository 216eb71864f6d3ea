"""What Dagster sees, a module a subject."""
