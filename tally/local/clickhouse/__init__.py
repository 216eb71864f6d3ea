"""The embedded warehouse: the ClickHouse engine (chDB) behind ClickHouse's HTTP interface.

With it a stack of pip packages alone runs the same clients, drivers and SQL as production.
"""
