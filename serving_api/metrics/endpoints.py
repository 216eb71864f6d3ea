"""`GET /api/metrics/definitions`; public, because a definition is nobody's secret."""

import functools
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Depends

from serving_api.metrics.schemas import MetricDefinition, MetricDefinitions
from serving_api.parameters import refuse_parameters
from serving_api.problems import problem_responses
from tally.metrics import metric_hashes, registry

router = APIRouter(tags=["metrics"], dependencies=[Depends(refuse_parameters)])


@router.get(
    "/api/metrics/definitions",
    summary="What every metric means",
    response_model=MetricDefinitions,
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY),
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
