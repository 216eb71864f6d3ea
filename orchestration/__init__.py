"""Dagster: when models are materialized and checked, and the graph a data engineer opens."""
