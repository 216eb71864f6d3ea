"""`POST /api/actions`, `POST /api/actions/bulk`, `GET /api/actions/recent/{user_id}`."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from serving_api.actions.messages import Message, Refusal, prepare
from serving_api.actions.producer import KafkaUnavailableError, Sent
from serving_api.actions.schemas import (
    Accepted,
    BulkAccepted,
    BulkItem,
    RecentAction,
    RecentActions,
    RecentQuery,
)
from serving_api.consistency import ConsistencyToken
from serving_api.erasures import erased_user
from serving_api.parameters import refuse_parameters, refuse_repeated_parameters
from serving_api.problems import (
    InvalidParameter,
    ProblemError,
    forbidden,
    invalid_request,
    problem_responses,
)
from serving_api.security.gate import Caller, is_for_all, player_id
from serving_api.security.tokens import Principal
from serving_api.state import AppState, state_of
from serving_api.warehouse import answering
from tally.events import Reason
from tally.events.export import schemas
from tally.events.model import UUID_PATTERN
from tally.tokens import MAX_USER_ID

logger = logging.getLogger(__name__)

router = APIRouter(tags=["actions"])

MAX_BULK_EVENTS = 1_000

_STATUS_OF: dict[str, Literal[403, 404]] = {"forbidden": 403, Reason.ERASED_USER: 404}

_PROBLEMS = problem_responses(
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class _Bulk(msgspec.Struct):
    """The body of a bulk: each event is kept as it came, so that one cannot spoil the others."""

    events: list[msgspec.Raw]


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _event_schema() -> dict[str, Any]:
    """The envelope of the event contract, in which the API can fill in two fields."""
    envelope = {k: v for k, v in schemas()["envelope.json"].items() if not k.startswith("$")}
    return {**envelope, "required": ["action_type", "occurred_at"]}


_EVENT = _event_schema()
_EVENTS = {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_BULK_EVENTS}


@router.post(
    "/api/actions",
    summary="Write one action",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=_PROBLEMS,
    openapi_extra=_body(_EVENT),
    dependencies=[Depends(refuse_parameters)],
)
async def write_action(
    request: Request,
    caller: Caller,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=f"^{UUID_PATTERN}$",
            description="The event id where the body has none: sent again with it, an event counts "
            "once.",
        ),
    ] = None,
) -> Accepted:
    """The event is validated by the contract that ingestion uses, and belongs to the token's `sub`.

    Roles `service` and `admin` write for the `user_id` of the event. The answer comes when every
    replica of Kafka has the event. `occurred_at` is required: a retry must be the same event.
    """
    state = state_of(request)
    own = await _own(request, caller)
    prepared = prepare(
        await _json(request), own=own, event_id=idempotency_key, received_at=state.clock()
    )
    if isinstance(prepared, Refusal):
        if prepared.reason == "forbidden":
            raise forbidden(prepared.error)
        location = f"body ({prepared.reason})"
        raise invalid_request(InvalidParameter(location=location, message=prepared.error))
    if await state.erasures.has(prepared.user_id):
        raise erased_user()
    (sent,) = await _send(state, [prepared])
    assert isinstance(sent, Sent)  # of one message, a failure is raised
    return Accepted(
        event_id=prepared.event_id,
        user_id=prepared.user_id,
        partition=sent.partition,
        offset=sent.offset,
        consistency_token=_token(state, [sent]),
    )


@router.post(
    "/api/actions/bulk",
    summary="Write up to 1,000 actions",
    status_code=HTTPStatus.ACCEPTED,
    response_model=BulkAccepted,
    responses={
        **_PROBLEMS,
        207: {"model": BulkAccepted, "description": "Not all were sent; `results` says which."},
    },
    openapi_extra=_body(
        {"type": "object", "properties": {"events": _EVENTS}, "required": ["events"]}
    ),
    dependencies=[Depends(refuse_parameters)],
)
async def write_actions(request: Request, caller: Caller) -> Response:
    """Each event as in `/api/actions`. The good ones are sent, also where others are refused."""
    state = state_of(request)
    own = await _own(request, caller)
    try:
        events = msgspec.json.decode(await _json(request), type=_Bulk).events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_request(InvalidParameter(location="body", message=str(error))) from error
    if not 1 <= len(events) <= MAX_BULK_EVENTS:
        message = f"takes 1 to {MAX_BULK_EVENTS} events, not {len(events)}"
        raise invalid_request(InvalidParameter(location="body.events", message=message))
    now = state.clock()
    prepared = [
        await _unless_erased(state, prepare(bytes(raw), own=own, event_id=None, received_at=now))
        for raw in events
    ]
    messages = [each for each in prepared if isinstance(each, Message)]
    outcomes = iter(await _send(state, messages) if messages else ())
    results = [
        _refused(index, each)
        if isinstance(each, Refusal)
        else _outcome(index, each, next(outcomes))
        for index, each in enumerate(prepared)
    ]
    sent = [result for result in results if result.status == 202]
    answer = BulkAccepted(
        accepted=len(sent),
        refused=len(results) - len(sent),
        results=results,
        consistency_token=_token(state, sent) if sent else None,
    )
    body = answer.model_dump(exclude_unset=True)
    status = HTTPStatus.ACCEPTED if len(sent) == len(results) else HTTPStatus.MULTI_STATUS
    return JSONResponse(body, status)


@router.get(
    "/api/actions/recent/{user_id}",
    summary="A user's newest actions",
    response_model=RecentActions,
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
    dependencies=[Depends(refuse_repeated_parameters)],
)
async def recent_actions(
    request: Request,
    user_id: Annotated[int, Path(ge=1, le=MAX_USER_ID)],
    query: Annotated[RecentQuery, Query()],
) -> RecentActions:
    """One's own, or for analysts and above anyone's. Newest first, never from a cache."""
    async with answering(request):
        rows = await state_of(request).actions.recent(user_id, query.limit)
    return RecentActions(actions=[RecentAction.of(row) for row in rows])


async def _unless_erased(state: AppState, prepared: Message | Refusal) -> Message | Refusal:
    if isinstance(prepared, Message) and await state.erasures.has(prepared.user_id):
        return Refusal(Reason.ERASED_USER, str(erased_user()), prepared.event_id)
    return prepared


async def _own(request: Request, caller: Principal) -> int | None:
    """Whose events the caller writes; None for who writes for anyone."""
    return None if is_for_all(request, caller) else await player_id(caller)


async def _json(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body must be JSON",
            "Send it with `Content-Type: application/json`.",
        )
    return await request.body()


async def _send(state: AppState, messages: list[Message]) -> list[Sent | KafkaUnavailableError]:
    try:
        return await state.producer.send(messages)
    except KafkaUnavailableError as error:
        logger.warning("actions were not accepted: %s", error)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "actions-unavailable",
            "Actions cannot be accepted right now",
            "Send them again with the same event ids after the time in Retry-After.",
            headers={"Retry-After": "2"},
        ) from error


def _token(state: AppState, sent: Iterable[Sent | BulkItem]) -> str:
    offsets: dict[int, int] = {}
    for each in sent:
        assert each.partition is not None
        assert each.offset is not None
        offsets[each.partition] = max(offsets.get(each.partition, -1), each.offset)
    return str(ConsistencyToken(state.producer.cluster_id, offsets))


def _refused(index: int, refusal: Refusal) -> BulkItem:
    known = {} if refusal.event_id is None else {"event_id": refusal.event_id}
    status = _STATUS_OF.get(refusal.reason, 422)
    return BulkItem(index=index, status=status, reason=refusal.reason, error=refusal.error, **known)


def _outcome(index: int, message: Message, outcome: Sent | KafkaUnavailableError) -> BulkItem:
    known = {"index": index, "event_id": message.event_id, "user_id": message.user_id}
    if isinstance(outcome, Sent):
        return BulkItem(**known, status=202, partition=outcome.partition, offset=outcome.offset)
    return BulkItem(**known, status=503, error="not acknowledged in time")
