"""`GET /healthz`: the process lives. `GET /readyz`: it can answer. Both are public.

`GET /api/olap/health` tells staff how the warehouse and ingestion are.
"""

import logging
import time
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, NonNegativeInt

from serving_api.parameters import refuse_parameters
from serving_api.problems import ProblemError, problem_responses
from serving_api.state import AppState, state_of
from serving_api.stats.schemas import Instant
from serving_api.warehouse import WarehouseUnavailableError, answering

logger = logging.getLogger(__name__)

router = APIRouter(tags=["health"], dependencies=[Depends(refuse_parameters)])

Check = Literal["ok", "unreachable", "not built", "none loaded"]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Checks(BaseModel):
    """What readiness looked at."""

    warehouse: Check
    marts: Check
    keys: Check


class Readiness(BaseModel):
    """The process can answer every route."""

    status: Literal["ready"]
    checks: Checks
    materialization_age_seconds: float | None = Field(
        description="Since the marts were last materialized; null before the first time. Old marts "
        "make answers slower, not wrong."
    )


class LastDay(BaseModel):
    """What ingestion did in the last 24 hours."""

    batches: NonNegativeInt
    accepted: NonNegativeInt = Field(description="Messages that became events.")
    dead_letters: NonNegativeInt = Field(description="Messages that were quarantined.")
    lost: NonNegativeInt = Field(
        description="Messages that Kafka had deleted before they could be read."
    )
    loss_ratio: float | None = Field(
        description="lost / (accepted + dead_letters + lost); null when there were none. It sees "
        "what Kafka knows; `tally verify-record` compares with the backend's own record."
    )


class OlapHealth(BaseModel):
    """How the warehouse and ingestion are."""

    status: Literal["ok", "held"] = Field(
        description="`held`: the quality checks in `held_by` have failed, so that people read the "
        "last good state, that of `watermark`."
    )
    held_by: list[str]
    query_seconds: float = Field(description="How long the warehouse took to tell all this.")
    watermark: Instant | None = Field(description="When the broker got the newest stored message.")
    last_batch_at: Instant | None = Field(description="When ingestion stored something last.")
    lag_seconds: float | None = Field(
        description="From the broker to being readable, of the newest batch."
    )
    materialized_at: Instant | None
    last_day: LastDay


_REFUSED = problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY)


@router.get("/healthz", summary="The process lives", response_model=Health, responses=_REFUSED)
async def healthz() -> Health:
    """Touches nothing outside the process."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="The process can answer",
    response_model=Readiness,
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readyz(state: Annotated[AppState, Depends(state_of)]) -> Readiness:
    """Asks the warehouse for the marts, and whether there are keys to verify tokens with."""
    checks = Checks(warehouse="ok", marts="ok", keys="ok" if len(state.keys) else "none loaded")
    materialized_at: datetime | None = None
    try:
        marts = await state.health.marts()
        materialized_at = marts.materialized_at
        if marts.missing_relations:
            checks.marts = "not built"
    except WarehouseUnavailableError as error:
        logger.warning("not ready: %s", error)
        checks.warehouse = checks.marts = "unreachable"
    if {checks.warehouse, checks.marts, checks.keys} != {"ok"}:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "Not ready to answer",
            headers={"Retry-After": "2"},
            checks=checks.model_dump(),
        )
    age = None if materialized_at is None else (state.clock() - materialized_at).total_seconds()
    return Readiness(status="ready", checks=checks, materialization_age_seconds=age)


@router.get(
    "/api/olap/health",
    summary="How the warehouse and ingestion are",
    response_model=OlapHealth,
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def olap_health(request: Request) -> OlapHealth:
    """For staff. 503 where the warehouse does not answer."""
    started = time.perf_counter()
    async with answering(request):
        found = await state_of(request).health.ingestion()
    seen = found["accepted"] + found["dead_letters"] + found["lost"]
    return OlapHealth(
        **{
            **found,
            "status": "held" if found["status"] == "held" else "ok",
            "query_seconds": round(time.perf_counter() - started, 4),
            "last_day": LastDay(**found, loss_ratio=found["lost"] / seen if seen else None),
        }
    )
