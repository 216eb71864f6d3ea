"""Short ways to make families of samples from the rows of a query."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Samples = Iterable[tuple[Sequence[str], float | None]]


def gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """A gauge without labels; None is no sample."""
    return gauges(name, help_text, (), [((), value)])


def gauges(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> GaugeMetricFamily:
    """A gauge by labels; a sample that is None is left out."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def counters(
    name: str, help_text: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily:
    """A counter by labels, whose total another process keeps."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
