"""Named scenarios: short lives that leave nothing to chance, so that their stats are known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from random import Random

from simulator.events import DAY, HOUR, Event, day_start
from simulator.journey import LOCKING_ATTEMPT, SHOP, Journey
from simulator.players import HABITS, Player
from tally.errors import TallyError


def one_day_journey(journey: Journey) -> None:
    """The day of a new player, as product tells it.

    Sign-up by invite code, a lockout and then the login, the daily login with its streak, three
    slot rounds (won, lost, drawn), a purchase, an event claimed with an achievement, a reconnect.
    """
    journey.sign_up()
    for _ in range(LOCKING_ATTEMPT):
        journey.fail_login()
        journey.wait(20)
    journey.log_in()
    journey.connect()
    journey.claim_daily()
    journey.claim_streak()
    for payout in (400, 0, 200):
        journey.wait(6)
        journey.settle("slot", 200, payout)
    journey.buy(SHOP[0])
    journey.join_event("grand-opening")
    journey.wait(600)
    journey.claim_event()
    journey.progress("grand-opening", 100, unlocked=True)
    journey.disconnect(close_code=1006)
    journey.wait(5)
    journey.connect()
    journey.log_out()


SCENARIOS: dict[str, Callable[[Journey], None]] = {"one_day_journey": one_day_journey}


@dataclass(frozen=True)
class Scenario:
    """One player who lives a named scenario at nine in the morning (UTC) of `start`."""

    name: str
    start: date
    user_id: int
    inviter_id: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in SCENARIOS:
            raise TallyError(
                f"There is no scenario {self.name!r}.", hint=f"There are: {', '.join(SCENARIOS)}."
            )

    @property
    def begins(self) -> int:
        """00:00Z of the day in milliseconds since 1970."""
        return day_start(self.start)

    @property
    def ends(self) -> int:
        """00:00Z after the day in milliseconds since 1970."""
        return self.begins + DAY

    @property
    def user_ids(self) -> range:
        """The one player."""
        return range(self.user_id, self.user_id + 1)

    def events(self) -> Iterator[Event]:
        """The events of the day, in time order."""
        at = self.begins + 9 * HOUR
        player = Player(self.user_id, 0, HABITS[1], 0, at, self.inviter_id, [])
        rng = Random(f"{self.name}/{self.seed}/{self.start}/{self.user_id}")  # noqa: S311
        journey = Journey(player, rng, at, f"{self.name}-{self.start}")
        SCENARIOS[self.name](journey)
        yield from journey.close()
