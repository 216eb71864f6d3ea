"""The event contract: what a producer may send, in one place, and the verdict on what it sent."""

from tally.events.model import ACTIONS, Action, Envelope, Initiator, initiator_of, outcome
from tally.events.parsing import Event, Reason, Rejection, parse

__all__ = [
    "ACTIONS",
    "Action",
    "Envelope",
    "Event",
    "Initiator",
    "Reason",
    "Rejection",
    "initiator_of",
    "outcome",
    "parse",
]
