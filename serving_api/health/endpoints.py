"""`GET /healthz`: the process lives. `GET /readyz`: it can answer. Both are public."""

import logging
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from serving_api.parameters import refuse_parameters
from serving_api.problems import ProblemError, problem_responses
from serving_api.state import AppState, state_of
from serving_api.warehouse import WarehouseUnavailableError

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


@router.get("/healthz", summary="The process lives", response_model=Health)
async def healthz() -> Health:
    """Touches nothing outside the process."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="The process can answer",
    response_model=Readiness,
    responses=problem_responses(HTTPStatus.SERVICE_UNAVAILABLE),
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
