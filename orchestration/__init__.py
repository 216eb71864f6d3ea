"""Dagster: the schedule of materializations and checks, and the graph that a data engineer opens."""
