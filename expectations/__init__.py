"""Data-quality suites as code. None yet: the checks so far are dbt tests."""
