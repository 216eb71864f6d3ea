"""Plain code that the definitions are made of; nothing here needs Dagster to be tested."""
