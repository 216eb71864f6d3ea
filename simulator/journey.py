"""The verbs of a player's life: each writes its events and keeps gold, streak and locks right.

What a player chooses to do is decided elsewhere (`behaviour`, `scenarios`); what the backend then
records is decided here.
"""

from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

from simulator.events import DAY, MINUTE, SECOND, UUID_RANDOM_BITS, Event, uuid7
from simulator.games import ACTION_TYPES, GameType, PayTable, result
from simulator.players import Player

WELCOME_GOLD = 20_000
DAILY_GOLD = 1_000
STREAK_GOLD = 500
EVENT_GOLD = 2_500
ACHIEVEMENT_GOLD = 3_000
LEVEL_GOLD = 1_000

LOCKING_ATTEMPT = 6
ATTEMPT_WINDOW = 10 * MINUTE
LOCKED_FOR = 15 * MINUTE

XP_A_LEVEL = 1_500
ROUNDS_A_TIER = 25
MILESTONES = frozenset((1, 3, 10, 50, 100, 500, 1_000, 5_000, 10_000))

CONFIG_VERSION = "2025.1"


class Item(NamedTuple):
    """What the shop sells: `price` in minor units of money, `gold` in minor units of gold."""

    item_id: str
    price: int
    gold: int
    limited: bool = False


SHOP = (
    Item("gold-pack-s", 199, 20_000),
    Item("gold-pack-m", 999, 120_000),
    Item("gold-pack-l", 4_999, 750_000),
)
STARTER = Item("starter-pack", 99, 50_000, limited=True)


class Voiding(NamedTuple):
    """A settled round that an administrator takes back at `at`."""

    at: int
    game: GameType
    round_id: str
    bet: int
    payout: int


class Journey:
    """A player's stay from `start` on; appends to `events` in strictly rising time."""

    def __init__(self, player: Player, rng: Random, start: int, world: str) -> None:
        self.player = player
        self.rng = rng
        self.now = max(start, player.clock + SECOND)
        self.events: list[Event] = []
        self.voidings: list[Voiding] = []
        self.world = world
        self.session_id = f"{rng.getrandbits(64):016x}"
        self._random = rng.random
        self._bits = rng.getrandbits
        # A device's clock is wrong by a second or so; one in fifty is wrong by hours.
        spread = 8_000 * SECOND if self._random() < 0.02 else 2 * SECOND
        self._client_error = int((self._random() - 0.5) * spread)

    def wait(self, seconds: float) -> None:
        """Let about so much time go by (half to one and a half times)."""
        self.now += int(seconds * SECOND * (0.5 + self._random()))

    def act(self, action_type: str, source: str, context: dict[str, Any]) -> None:
        """Record what the backend does or sees now."""
        self.now = now = self.now + 1 + int(self._random() * 40)
        self.events.append(
            Event(
                uuid7(now, self._bits(UUID_RANDOM_BITS)),
                self.player.user_id,
                action_type,
                now,
                self.session_id,
                source,
                context,
            )
        )

    def act_on_device(self, action_type: str, source: str, context: dict[str, Any]) -> None:
        """Record an action that a device sent, with the device's own idea of the time."""
        self.act(action_type, source, context)
        self.events[-1].client_at = self.now - 120 + self._client_error

    def close(self) -> list[Event]:
        """The events; the player is free for the next journey."""
        self.player.clock = self.now
        return self.events

    # Account

    def sign_up(self) -> None:
        inviter = self.player.invited_by
        code = {} if inviter is None else {"invite_code_hash": sha256(b"%d" % inviter).hexdigest()}
        self.act_on_device("SIGN_UP", "auth", code)
        self.act("AGE_VERIFIED", "auth", {"result": "passed"})
        self.grant("welcome", WELCOME_GOLD)

    def fail_login(self) -> None:
        """A wrong password; the sixth within ten minutes locks the account."""
        player = self.player
        self.act("LOGIN_FAILED", "auth", {"reason": "wrong_password"})
        recent = [at for at in player.wrong_passwords if at > self.now - ATTEMPT_WINDOW]
        player.wrong_passwords = [*recent, self.now]
        if len(player.wrong_passwords) >= LOCKING_ATTEMPT:
            self.act("LOGIN_LOCKED", "auth", {"reason": "too_many_attempts"})
            player.locked_until = self.now + LOCKED_FOR
            player.wrong_passwords = []

    def log_in(self, method: str = "password") -> None:
        """Log in, after the lock has run out where there is one."""
        self.now = max(self.now, self.player.locked_until)
        self.player.wrong_passwords = []
        self.act_on_device("LOGIN", "auth", {"method": method})

    def refresh_token(self) -> None:
        self.act("TOKEN_REFRESHED", "auth", {"reason": "expired"})

    def log_out(self) -> None:
        self.act_on_device("LOGOUT", "auth", {"method": "button"})

    def connect(self, path: str = "/api/realtime/sync") -> None:
        self.act("WS_CONNECTED", "realtime", {"path": path})

    def disconnect(self, path: str = "/api/realtime/sync", close_code: int = 1000) -> None:
        self.act("WS_DISCONNECTED", "realtime", {"path": path, "close_code": close_code})

    def call_deprecated(self) -> None:
        self.act(
            "DEPRECATED_ENDPOINT_CALLED",
            "gateway",
            {"path": "/api/users/profile", "method": "GET", "successor": "/api/auth/profile"},
        )

    def request(self, route: str) -> None:
        duration = 2 + int(self._random() * 30)
        self.act(
            "API_REQUEST",
            "gateway",
            {"route": route, "caller": "web", "status": 200, "duration_ms": duration},
        )

    def block(self, rule: str) -> None:
        self.act("FRAUD_BLOCKED", "risk", {"rule": rule})

    # Rewards

    def grant(self, reward_type: str, amount: int, reference_id: str | None = None) -> None:
        """Move gold by `amount`; a correction takes no more than there is."""
        player = self.player
        amount = max(amount, -player.gold)
        player.gold += amount
        context = {
            "reward_type": reward_type,
            "amount": amount,
            "balance_after": player.gold,
        }
        if reference_id is not None:
            context["reference_id"] = reference_id
        self.act("REWARD_GRANTED", "economy", context)

    def claim_daily(self) -> None:
        """The day's `DAILY_LOGIN` with its reward, once a UTC day; the streak runs by it."""
        player = self.player
        today = self.now // DAY
        if player.last_login_day == today:
            return
        player.streak = player.streak + 1 if player.last_login_day == today - 1 else 1
        player.last_login_day = today
        self.act_on_device("DAILY_LOGIN", "rewards", {"streak_count": player.streak})
        self.grant("daily_login", DAILY_GOLD)

    def claim_streak(self) -> None:
        streak = self.player.streak
        self.act_on_device("STREAK_CLAIM", "rewards", {"streak_count": streak})
        self.grant("streak", STREAK_GOLD * min(streak, 7))

    def progress(self, achievement: str, progress: int, *, unlocked: bool) -> None:
        """Progress in percent; an unlocked achievement pays."""
        self.act(
            "ACHIEVEMENT_PROGRESS",
            "rewards",
            {"achievement_code": achievement, "progress": progress, "unlocked": unlocked},
        )
        if unlocked:
            self.grant("achievement", ACHIEVEMENT_GOLD, achievement)

    def join_event(self, code: str) -> None:
        self.player.joined_event = code
        self.act_on_device("EVENT_JOIN", "rewards", {"event_code": code})

    def claim_event(self) -> None:
        code = self.player.claimed_event = self.player.joined_event
        self.act_on_device("EVENT_CLAIM", "rewards", {"event_code": code})
        self.grant("event", EVENT_GOLD, code)

    # Rounds

    def play(
        self,
        game: GameType,
        bet: int,
        table: PayTable,
        *,
        units: int = 1,
        demo: bool = False,
        free_stake: int = 0,
    ) -> None:
        """One round. `bet` is for all `units`; a free round has a bet of 0 and a notional stake."""
        stake = (bet or free_stake) // units
        payout = sum(stake * table.draw(self._random) // 100 for _ in range(units))
        self.settle(game, bet, payout, units=units, demo=demo)

    def settle(
        self, game: GameType, bet: int, payout: int, *, units: int = 1, demo: bool = False
    ) -> None:
        """A round from its start to its settlement, with what it moves."""
        context: dict[str, Any] = {"round_id": self._next_round()}
        if game == "crash":
            self._act_round(game, context | {"state": "started", "bet": bet}, demo=demo)
            self.wait(8)
        context["state"] = "settled"
        context["bet"] = bet
        context["payout"] = payout
        context["result"] = result(game, bet, payout)
        if units > 1:
            context["units"] = units
        self._act_round(game, context, demo=demo)
        if not demo:
            self.player.gold += payout - bet
            self._advance(bet)

    def start_and_cancel(self, game: GameType, bet: int) -> None:
        """A round that is called off; its stake comes back."""
        context = {"round_id": self._next_round(), "bet": bet}
        self._act_round(game, context | {"state": "started"})
        self.wait(5)
        self._act_round(game, context | {"state": "cancelled"})

    def start_and_leave(self, game: GameType, bet: int) -> None:
        """A demo round that never ends: the player closed the window."""
        context = {"round_id": self._next_round(), "bet": bet, "state": "started"}
        self._act_round(game, context, demo=True)

    def void_later(self, game: GameType, delay: int) -> None:
        """Have the last round (settled just now) voided `delay` milliseconds from now."""
        for event in reversed(self.events):
            if event.action_type == ACTION_TYPES[game] and "payout" in event.context:
                context = event.context
                self.voidings.append(
                    Voiding(
                        self.now + delay,
                        game,
                        context["round_id"],
                        context["bet"],
                        context["payout"],
                    )
                )
                return

    def void(self, voiding: Voiding) -> None:
        """Take a settled round back: the stake returns, the pay-out goes if the gold lasts."""
        self.act("ADMIN_ACTION", "backoffice", {"action": "void_round", "actor": "operator-7"})
        self._act_round(voiding.game, {"round_id": voiding.round_id, "state": "voided"})
        self.grant("void_correction", voiding.bet - voiding.payout, voiding.round_id)

    def _next_round(self) -> str:
        self.player.rounds += 1
        return f"{self.world}-{self.player.rounds}"

    def _act_round(self, game: GameType, context: dict[str, Any], *, demo: bool = False) -> None:
        if demo:
            context["is_demo"] = True
        context["config_version"] = CONFIG_VERSION
        self.act(ACTION_TYPES[game], "game", context)
        if self._random() < 0.3:
            self.events[-1].client_at = self.now - 120 + self._client_error

    def _advance(self, bet: int) -> None:
        player = self.player
        rounds = player.rounds
        if rounds in MILESTONES:
            self.progress(f"rounds_{rounds}", 100, unlocked=True)
        elif 2 * rounds in MILESTONES:
            self.progress(f"rounds_{2 * rounds}", 50, unlocked=False)
        if rounds % ROUNDS_A_TIER == 0:
            tier = rounds // ROUNDS_A_TIER
            self.act(
                "BATTLE_PASS_PROGRESS",
                "rewards",
                {"season": "S1", "tier": tier, "xp": player.xp},
            )
        player.xp += 10 + min(bet // 100, 40)
        if player.xp >= XP_A_LEVEL * player.level:
            player.level += 1
            self.act("LEVEL_UP", "rewards", {"level": player.level})
            self.grant("level_up", LEVEL_GOLD)

    # Shop

    def buy(self, item: Item, *, failure: str | None = None, receipt_twice: bool = False) -> None:
        """Buy an item; `failure` is the reason of a purchase that fails.

        The store may deliver a receipt twice: the second success is recorded and grants nothing.
        """
        player = self.player
        player.purchases += 1
        purchase: dict[str, Any] = {
            "purchase_id": f"{self.world}-p{player.purchases}",
            "item_id": item.item_id,
            "amount": item.price,
        }
        if item.limited:
            purchase["limited"] = True
            if player.owns_limited:
                failure = "limit_reached"
        self.act_on_device("SHOP_BUY", "shop", purchase | {"state": "pending"})
        self.wait(6)
        if failure is not None:
            self.act("SHOP_BUY", "shop", purchase | {"state": "failed", "reason": failure})
            return
        player.owns_limited |= item.limited
        receipt = sha256(f"{player.user_id}/{purchase['purchase_id']}".encode()).hexdigest()
        success = purchase | {"state": "success", "receipt_hash": receipt}
        self.act("SHOP_BUY", "shop", success)
        self.grant("purchase", item.gold, purchase["purchase_id"])
        if receipt_twice:
            self.wait(30)
            self.act("SHOP_BUY", "shop", dict(success))
