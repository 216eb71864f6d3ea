"""What a player chooses to do in one visit, by habit and chance."""

from simulator.events import DAY, HOUR
from simulator.games import CRASH, GACHA, RPS, SLOT, GameType, PayTable
from simulator.journey import SHOP, STARTER, Journey

LEGACY_PATH = "/api/games/ws"
_FAILURES = ("card_declined", "cancelled_by_user", "store_timeout")
_CRASH_TABLES = tuple(CRASH.values())


def visit(journey: Journey) -> None:
    """One visit, from the first password to the logout."""
    player, rng = journey.player, journey.rng
    if player.clock == 0:
        journey.sign_up()
        journey.wait(20)
    _enter(journey)
    path = LEGACY_PATH if rng.random() < 0.1 else "/api/realtime/sync"
    journey.connect(path)
    if rng.random() < 0.5:
        journey.request("/api/users/stats")
    if rng.random() < 0.05:
        journey.call_deprecated()
    if rng.random() < 0.85:
        journey.claim_daily()
        if player.streak >= 2 and rng.random() < 0.6:
            journey.claim_streak()
    _take_part(journey)
    _spend(journey)
    _play(journey)
    if rng.random() < 0.004:
        journey.block("velocity")
    dropped = rng.random() < 0.3
    journey.disconnect(path, 1006 if dropped else 1000)
    if not dropped and rng.random() < 0.6:
        journey.log_out()


def _enter(journey: Journey) -> None:
    rng = journey.rng
    chance = rng.random()
    wrong = 6 if chance < 0.004 else 1 + int(rng.random() * 3) if chance < 0.08 else 0
    for _ in range(wrong):
        journey.fail_login()
        journey.wait(12)
    if wrong == 0 and rng.random() < 0.25:
        journey.refresh_token()
    else:
        journey.log_in("password" if rng.random() < 0.7 else "google")


def _take_part(journey: Journey) -> None:
    """The week's event: join it once, claim it at a later visit."""
    player = journey.player
    week = f"week-{(journey.now // DAY + 3) // 7}"
    if player.claimed_event == week or journey.rng.random() >= 0.3:
        return
    if player.joined_event == week:
        journey.claim_event()
    else:
        journey.join_event(week)


def _spend(journey: Journey) -> None:
    rng, habit = journey.rng, journey.player.habit
    broke = journey.player.gold < habit.stakes[0]
    if rng.random() >= (4 * habit.buys + 0.02 if broke else habit.buys):
        return
    chance = rng.random()
    item = STARTER if chance < 0.25 else SHOP[min(int(chance * 3), habit.stakes[-1] // 1_000)]
    failure = _FAILURES[int(rng.random() * 3)] if rng.random() < 0.12 else None
    journey.buy(item, failure=failure, receipt_twice=rng.random() < 0.03)


def _play(journey: Journey) -> None:
    """Rounds of one game after another until the player has had enough, or no gold is left."""
    player, habit, rng = journey.player, journey.player.habit, journey.rng
    random = rng.random
    game, table = _choose(journey)
    for _ in range(min(int(rng.expovariate(1 / habit.rounds)), 400)):
        journey.wait(6)
        chance = random()
        if chance < 0.08:
            game, table = _choose(journey)
        stake = habit.stakes[int(random() * len(habit.stakes))]
        units = 10 if game == "gacha" and chance > 0.8 else 1
        bet = stake * units
        if 0.08 <= chance < 0.11:
            journey.play(game, bet, table, units=units, demo=True)
        elif 0.11 <= chance < 0.12:
            journey.play(game, 0, table, free_stake=habit.stakes[0])
        elif bet > player.gold:
            return
        elif 0.12 <= chance < 0.125:
            journey.start_and_cancel(game, bet)
        elif 0.125 <= chance < 0.126:
            journey.start_and_leave(game, bet)
        else:
            journey.play(game, bet, table, units=units)
            if 0.126 <= chance < 0.13:
                journey.void_later(game, int(HOUR + random() ** 3 * 20 * DAY))


def _choose(journey: Journey) -> tuple[GameType, PayTable]:
    random, games = journey.rng.random, journey.player.habit.games
    game = games[int(random() * len(games))]
    if game == "slot":
        return game, SLOT
    if game == "rps":
        return game, RPS
    if game == "gacha":
        return game, GACHA
    return game, _CRASH_TABLES[int(random() * len(_CRASH_TABLES))]
