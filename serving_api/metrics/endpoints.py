"""`GET /api/metrics/definitions`; public, because a definition is nobody's secret."""

import functools

import msgspec
from fastapi import APIRouter

from serving_api.metrics.schemas import MetricDefinition, MetricDefinitions
from tally.metrics import metric_hashes, registry

router = APIRouter(tags=["metrics"])


@router.get(
    "/api/metrics/definitions",
    summary="What every metric means",
    response_model=MetricDefinitions,
)
async def metric_definitions() -> MetricDefinitions:
    """Generated from the definitions in dbt, so it is the definition that the numbers follow."""
    return _definitions()


@functools.cache
def _definitions() -> MetricDefinitions:
    return MetricDefinitions(
        active_day_definitions=registry().active_days,
        metrics=[
            MetricDefinition(
                **msgspec.structs.asdict(metric),
                additive=metric.additivity == "additive",
                hash=metric_hashes()[metric.name],
            )
            for metric in registry().metrics
        ],
    )
