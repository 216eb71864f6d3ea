"""What a reader of the platform's stream is told, and when."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from serving_api.realtime import stream as stream_module
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.realtime.platform import Platform
from serving_api.realtime.schemas import GlobalMeta, GlobalMetrics, Today, Totals
from serving_api.realtime.stream import Stream


def numbers(events: int) -> GlobalMetrics:
    sums = {"events": events, "rounds": 0, "bet_amount": 0, "payout_amount": 0}
    return GlobalMetrics(
        today=Today(date=date(2026, 11, 22), dau=0, wau=0, mau=0, rtp=None, by_game=[], **sums),
        totals=Totals(users=0, **sums),
        meta=GlobalMeta(
            status="fresh",
            active_day_definition="all_actions",
            definition_hash="sha256:0",
            materialized_at=None,
        ),
    )


async def test_what_is_published_while_a_reader_is_told_the_one_before_is_told_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not with the next publication, which may be a minute away."""
    monkeypatch.setattr(stream_module, "HEARTBEAT_SECONDS", 30)
    nothing = cast(Any, None)
    platform = Platform(nothing, lambda: datetime.now(UTC), "all_actions")
    reader = Stream(platform, RealtimeMetrics(CollectorRegistry()), "", nothing)
    told = reader._told(None)
    async with asyncio.timeout(5):
        assert (await anext(told)).startswith(b"retry")
        for events in range(3):
            platform._publish(numbers(events))
            assert f'"events":{events}'.encode() in await anext(told)
        waiting = asyncio.create_task(anext(told))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        platform._publish(numbers(3))
        assert b'"events":3' in await waiting
