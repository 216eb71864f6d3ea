"""The application factory: what is made at the start, in which order, and closed in reverse."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    ProcessCollector,
    start_http_server,
)

from serving_api.actions.endpoints import router as actions_router
from serving_api.actions.producer import ActionProducer
from serving_api.actions.repository import ActionsRepository
from serving_api.arrivals import Arrivals
from serving_api.body_limit import BodyLimit
from serving_api.clock import Clock, utc_now
from serving_api.erasures import Erasures
from serving_api.health.endpoints import router as health_router
from serving_api.health.repository import HealthRepository
from serving_api.identity.endpoints import router as identity_router
from serving_api.identity.repository import IdentityRepository
from serving_api.metrics.endpoints import router as metrics_router
from serving_api.openapi import describe
from serving_api.page.endpoints import router as page_router
from serving_api.problems import add_problem_handlers
from serving_api.realtime.cards import Cards
from serving_api.realtime.endpoints import router as realtime_router
from serving_api.realtime.feed import Feed
from serving_api.realtime.hub import Hub
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.realtime.platform import Platform
from serving_api.realtime.shortcut import SocketShortcut
from serving_api.security.access import require_rows
from serving_api.security.audit import AuditLog
from serving_api.security.gate import gate
from serving_api.security.keys import KeyMetrics, KeySet
from serving_api.security.rate_limit import RateLimiter
from serving_api.security.tokens import TokenVerifier
from serving_api.state import AppState, LifespanState
from serving_api.stats.ahead import ReadAhead
from serving_api.stats.endpoints import router as stats_router
from serving_api.stats.reader import ReaderMetrics, StatsReader
from serving_api.stats.repository import StatsMetrics, StatsRepository
from serving_api.telemetry import DOCUMENTATION_PATH, RequestEnvelope, RequestMetrics
from serving_api.warehouse import PoolMetrics, Warehouse
from tally.errors import TallyError
from tally.settings import Settings

logger = logging.getLogger(__name__)

# In the order in which they are matched: `/api/users/{user_id}` after the paths that it would take.
ROUTERS = (
    page_router,
    health_router,
    stats_router,
    metrics_router,
    realtime_router,
    identity_router,
    actions_router,
)


def create_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """The API of `settings`; `clock` says what "today" is.

    Entering its lifespan raises `TallyError` where the settings name no warehouse or no keys. It
    does not need the warehouse to be there: until it is, answers are 503.
    """
    registry = CollectorRegistry()
    stats_metrics = StatsMetrics(registry)
    reader_metrics = ReaderMetrics(registry)
    realtime_metrics = RealtimeMetrics(registry)
    deprecated_calls = Counter(
        "deprecated_endpoint_calls",
        "Calls of deprecated paths.",
        ("path",),
        registry=registry,
    )

    refusals = Counter(
        "tally_http_refusals",
        "Requests refused before their endpoint, by problem type: no token, wrong role, too many.",
        ("reason",),
        registry=registry,
    )
    pool_metrics = PoolMetrics(registry)
    key_metrics = KeyMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[LifespanState]:
        settings.endpoint("clickhouse_url")
        async with AsyncExitStack() as stack:
            keys = KeySet(jwks_source(settings), metrics=key_metrics)
            stack.push_async_callback(keys.aclose)
            await keys.refresh()
            warehouse = Warehouse(settings, metrics=pool_metrics)
            stack.push_async_callback(warehouse.aclose)
            arrivals = Arrivals(warehouse, settings.actions_topic)
            repository = StatsRepository(warehouse, arrivals, stats_metrics)
            stack.push_async_callback(repository.aclose)
            stats = StatsReader(
                repository, arrivals, reader_metrics, cache_seconds=settings.api_cache_seconds
            )
            stack.push_async_callback(stats.aclose)
            erasures = Erasures(warehouse)
            erasures.tell(stats.drop)
            verifier = TokenVerifier(keys, settings.jwt_issuer, settings.jwt_audience)
            identity = IdentityRepository(warehouse)
            # After the reader: arrivals are told in this order.
            hub = Hub(
                arrivals,
                keys,
                verifier,
                realtime_metrics,
                clock,
                erasures=erasures,
                is_held=lambda: repository.is_held,
                per_subject=settings.api_connections_per_subject,
                in_all=settings.api_max_connections,
            )
            app.state.end_connections = hub.end
            cards = Cards(arrivals, identity, hub, clock)
            feed = Feed(settings, hub, realtime_metrics, clock, cards.changed)
            platform = Platform(warehouse, clock, settings.active_day_definition)
            for work in (
                arrivals.follow(),
                stats.keep_warm(),
                ReadAhead(
                    repository,
                    stats,
                    arrivals,
                    clock,
                    settings.active_day_definition,
                    users=settings.api_read_ahead if settings.api_cache_seconds else 0,
                    cache_seconds=settings.api_cache_seconds,
                ).follow(),
                erasures.follow(),
                hub.watch(),
                feed.follow(),
                platform.follow(),
            ):
                await stack.enter_async_context(_running(work))
            producer = ActionProducer(settings)
            stack.push_async_callback(producer.aclose)
            if settings.api_metrics_port is not None:
                stack.enter_context(_metrics_server(settings, registry))
            yield {
                "tally": AppState(
                    settings=settings,
                    clock=clock,
                    keys=keys,
                    verifier=verifier,
                    rates=RateLimiter(),
                    audit=AuditLog(settings.audit_path),
                    erasures=erasures,
                    stats=stats,
                    health=HealthRepository(warehouse),
                    identity=identity,
                    actions=ActionsRepository(warehouse),
                    producer=producer,
                    hub=hub,
                    platform=platform,
                    realtime=realtime_metrics,
                    deprecated_calls=deprecated_calls,
                    refusals=refusals,
                )
            }

    # FastAPI's own page loads its scripts from a CDN, which not every network reaches.
    app = FastAPIOffline(
        docs_url=DOCUMENTATION_PATH,
        redoc_url=None,
        title="Tally",
        version="1",
        lifespan=lifespan,
        # Behind a proxy that ends TLS it would send the token's bearer to plain http.
        redirect_slashes=False,
        dependencies=[Depends(gate)],
    )
    for router in ROUTERS:
        require_rows(router.routes)
        app.include_router(router)
    add_problem_handlers(app)
    if origins := [name for name in settings.api_cors_origins.split(",") if name]:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Cache-Control", "Content-Type", "Idempotency-Key"],
            expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"],
            max_age=600,
        )
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestEnvelope, metrics=RequestMetrics(registry))
    app.add_middleware(SocketShortcut, routes=realtime_router.routes)
    describe(app)
    return app


def jwks_source(settings: Settings) -> str:
    """Where the verification keys are. Raises `TallyError` where the settings do not say."""
    if settings.jwks is None:
        raise TallyError(
            "No keys are known to verify tokens with: TALLY_JWKS is not set.",
            hint="Set it to the JWKS file or URL of your identity provider; `tally up` makes one.",
        )
    return settings.jwks


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Work in the background that ends only with the application."""
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_of_death)
    try:
        yield
    finally:
        # Again until it ends: a client library that connects may swallow a cancellation.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.5)


def _tell_of_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical("work in the background has ended", exc_info=error)


@contextmanager
def _metrics_server(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serve `/metrics` away from the port that players reach, on loopback unless told otherwise."""
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    assert settings.api_metrics_port is not None
    server, thread = start_http_server(
        settings.api_metrics_port, addr=settings.metrics_host, registry=registry
    )
    logger.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
