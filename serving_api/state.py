"""What the application holds while it runs: made once at the start, reached by every endpoint."""

from dataclasses import dataclass
from typing import TypedDict

from fastapi import Request
from prometheus_client import Counter

from serving_api.actions.producer import ActionProducer
from serving_api.actions.repository import ActionsRepository
from serving_api.clock import Clock
from serving_api.erasures import Erasures
from serving_api.health.repository import HealthRepository
from serving_api.identity.repository import IdentityRepository
from serving_api.realtime.hub import Hub
from serving_api.realtime.metrics import RealtimeMetrics
from serving_api.realtime.platform import Platform
from serving_api.security.audit import AuditLog
from serving_api.security.keys import KeySet
from serving_api.security.rate_limit import RateLimiter
from serving_api.security.tokens import TokenVerifier
from serving_api.stats.reader import StatsReader
from tally.settings import Settings


@dataclass(frozen=True, slots=True)
class AppState:
    """The application's long-lived parts."""

    settings: Settings
    clock: Clock
    keys: KeySet
    verifier: TokenVerifier
    rates: RateLimiter
    audit: AuditLog
    erasures: Erasures
    stats: StatsReader
    health: HealthRepository
    identity: IdentityRepository
    actions: ActionsRepository
    producer: ActionProducer
    hub: Hub
    platform: Platform
    realtime: RealtimeMetrics
    deprecated_calls: Counter
    refusals: Counter


class LifespanState(TypedDict):
    """What Starlette copies into every request's scope."""

    tally: AppState


def state_of(request: Request) -> AppState:
    """The application state of a request."""
    state: AppState = request.state.tally
    return state
