"""The ledger of truth: what every player's statistics must be, in plain Python.

It folds the deliveries that must be accepted and implements metrics by their definitions alone. It
shares no code with dbt, `tally verify` or the event contract, so that agreement means something.
Memory follows the number of rounds and active days.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from simulator.events import DAY, Event, date_of

# Actions of the platform, which make no active day.
_OF_THE_SYSTEM = frozenset(
    (
        "LOGIN_FAILED",
        "LOGIN_LOCKED",
        "TOKEN_REFRESHED",
        "REWARD_GRANTED",
        "FRAUD_BLOCKED",
        "ADMIN_ACTION",
        "WS_CONNECTED",
        "WS_DISCONNECTED",
        "DEPRECATED_ENDPOINT_CALLED",
        "API_REQUEST",
    )
)
_GAMES = {"SLOT_SPIN": "slot", "GACHA_SPIN": "gacha", "RPS_PLAY": "rps", "CRASH_ROUND": "crash"}


class _Round:
    """The latest state of a round and, apart from it, its settlement."""

    __slots__ = ("latest", "settled", "state")

    def __init__(self) -> None:
        self.latest: tuple[int, str] = (-1, "")
        self.state = ""
        self.settled: tuple[int, str, str, int, int, bool] | None = None


class _User:
    __slots__ = ("active", "logins", "rounds")

    def __init__(self) -> None:
        self.active: set[int] = set()
        self.logins: set[int] = set()
        self.rounds: dict[str, _Round] = {}


class Truth:
    """Expected statistics by user, from the events that must be accepted, in any order."""

    def __init__(self) -> None:
        self._users: dict[int, _User] = {}

    def accept(self, event: Event) -> None:
        """Count an event; the same one again changes nothing."""
        user = self._users.get(event.user_id)
        if user is None:
            user = self._users[event.user_id] = _User()
        action = event.action_type
        if action not in _OF_THE_SYSTEM:
            user.active.add(event.at // DAY)
            if action == "DAILY_LOGIN":
                user.logins.add(event.at // DAY)
            game = _GAMES.get(action)
            if game is not None:
                self._accept_round(user, game, event)

    def _accept_round(self, user: _User, game: str, event: Event) -> None:
        context = event.context
        played = user.rounds.setdefault(context["round_id"], _Round())
        state = context.get("state", "settled")
        order = (event.at, event.event_id)
        if order >= played.latest:
            played.latest, played.state = order, state
        if state == "settled" and (played.settled is None or order >= played.settled[:2]):
            demo = context.get("is_demo", False)
            played.settled = (*order, game, context["bet"], context["payout"], demo)

    def answer(self, user_id: int, as_of: date) -> dict[str, Any]:
        """The fields of `GET /api/users/stats`; those of activity by definition."""
        user = self._users.get(user_id) or _User()
        last = as_of.toordinal() - date(1970, 1, 1).toordinal()
        games = _games(user.rounds.values(), last)
        total = {
            name: sum(game[name] for game in games.values())
            for name in (
                "played",
                "wins",
                "losses",
                "draws",
                "no_outcome",
                "bet_amount",
                "payout_amount",
            )
        }
        decided = total["wins"] + total["losses"]
        return {
            "user_id": user_id,
            "as_of": as_of.isoformat(),
            "total_games_played": total["played"],
            "total_wins": total["wins"],
            "total_losses": total["losses"],
            "total_draws": total["draws"],
            "total_no_outcome": total["no_outcome"],
            "win_rate": total["wins"] / decided if decided else None,
            "bet_amount": total["bet_amount"],
            "payout_amount": total["payout_amount"],
            "current_streak_days": _streak(user.logins, last),
            "definitions": {
                "all_actions": _activity(user.active, last),
                "daily_login": _activity(user.logins, last),
            },
            "by_game": [{"game_type": name} | games[name] for name in sorted(games)],
        }

    def answers(self, user_ids: Iterable[int], as_of: date) -> Iterator[dict[str, Any]]:
        """The answers in the order of the ids."""
        return (self.answer(user_id, as_of) for user_id in user_ids)


def _games(rounds: Iterable[_Round], last: int) -> dict[str, dict[str, int]]:
    games: dict[str, dict[str, int]] = {}
    for played in rounds:
        if played.state != "settled" or played.settled is None:
            continue
        at, _, game, bet, payout, demo = played.settled
        if demo or at // DAY > last:
            continue
        counts = games.setdefault(
            game,
            {
                "played": 0,
                "wins": 0,
                "losses": 0,
                "draws": 0,
                "no_outcome": 0,
                "bet_amount": 0,
                "payout_amount": 0,
            },
        )
        counts["played"] += 1
        counts["bet_amount"] += bet
        counts["payout_amount"] += payout
        if game == "gacha":
            counts["no_outcome"] += 1
        elif payout > bet:
            counts["wins"] += 1
        elif payout == bet and bet > 0:
            counts["draws"] += 1
        else:
            counts["losses"] += 1
    return games


def _activity(days: set[int], last: int) -> dict[str, Any]:
    counted = [day for day in days if day <= last]
    return {
        "last_7d_active_days": sum(day > last - 7 for day in counted),
        "last_30d_active_days": sum(day > last - 30 for day in counted),
        "last_90d_active_days": sum(day > last - 90 for day in counted),
        "lifetime_active_days": len(counted),
        "first_active_date": date_of(min(counted) * DAY).isoformat() if counted else None,
        "last_active_date": date_of(max(counted) * DAY).isoformat() if counted else None,
    }


def _streak(logins: set[int], last: int) -> int:
    day = last if last in logins else last - 1
    length = 0
    while day - length in logins:
        length += 1
    return length
