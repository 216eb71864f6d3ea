"""Questions and answers of the action routes. What an event is, is in `tally.events` alone."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from serving_api.stats.schemas import Instant

_USE = "Pass it as `after` to `/api/users/stats` to read what was written here."


class Accepted(BaseModel):
    """An event that every replica of Kafka has."""

    event_id: str
    user_id: int
    partition: int
    offset: int
    consistency_token: str = Field(description=_USE)


class BulkItem(BaseModel):
    """What became of one event, by its place in the request."""

    index: int
    status: Literal[202, 403, 404, 422, 503] = Field(
        description="202: sent. 403, 422: refused, and will be again. 404: its user was erased. "
        "503: not acknowledged, send it again with the same event id."
    )
    event_id: str | None = None
    user_id: int | None = None
    partition: int | None = None
    offset: int | None = None
    reason: str | None = Field(None, description="A reason of the event contract, or `forbidden`.")
    error: str | None = None


class BulkAccepted(BaseModel):
    """What became of each event."""

    accepted: int
    refused: int
    results: list[BulkItem]
    consistency_token: str | None = Field(
        description=f"Of all that was sent; null where nothing was. {_USE}"
    )


class RecentQuery(BaseModel):
    """The query parameters; any other is refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200)


class RecentAction(BaseModel):
    """One accepted action."""

    event_id: str
    user_id: int
    action_type: str
    initiator: Literal["user", "system"]
    occurred_at: Instant
    client_ts: Instant | None
    session_id: str
    source: str
    context: dict[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The action of a row of `ActionsRepository`."""
        return cls(**{**row, "context": msgspec.json.decode(row["context"])})


class RecentActions(BaseModel):
    """Newest first."""

    actions: list[RecentAction]
