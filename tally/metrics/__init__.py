"""The metric registry: defined in dbt_project/models/metrics, read from here."""

from tally.metrics.hashes import definition_hash, metric_hashes
from tally.metrics.registry import Metric, Registry, metrics, registry, window_days

__all__ = [
    "Metric",
    "Registry",
    "definition_hash",
    "metric_hashes",
    "metrics",
    "registry",
    "window_days",
]
