"""One process that tells Prometheus of what has no /metrics: warehouse, pipeline, Dagster, TLS."""
