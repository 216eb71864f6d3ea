"""The page as a person meets it: Debian's Chromium, the real API, real events."""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tally.tokens import mint
from tests.browser.cuttable import Network
from tests.integration.api.serving import Client, serving
from tests.integration.ingest.pipeline import ingesting
from tests.platform import Platform, action, running_platform

AXE = Path(__file__).parent / "axe" / "axe.min.js"
LIMIT_MS = 30_000
_users = count(1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    """The API with a broker and ingestion behind it."""
    with ingesting(platform.folder, platform.settings.endpoint("clickhouse_url")) as pipeline:
        changes = {"kafka_bootstrap": pipeline.broker_url, "api_rate_limit": 100_000}
        with serving(platform.settings.model_copy(update=changes)) as client:
            yield client


# Not for the session: while Playwright is there, no other test can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium cannot make its sandbox as root, as which CI runs.
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def player(platform: Platform) -> int:
    """A player with a history: 40 days of logins, on every second of them rounds."""
    user = next(_users)
    now = datetime.now(UTC)
    platform.store(
        event
        for back in range(1, 41)
        for event in _day(user, (now - timedelta(days=back)).date().isoformat(), back)
    )
    return user


def _day(user: int, date: str, back: int) -> Iterator[dict[str, Any]]:
    yield action(user, "DAILY_LOGIN" if back % 4 else "LOGIN", f"{date}T08:00:00Z")
    for nth in range(back % 2 * 3):
        kind = ("SLOT_SPIN", "RPS_PLAY", "CRASH_ROUND")[nth]
        payout = (0, 250, 100)[nth]
        yield action(
            user, kind, f"{date}T09:00:00Z", round_id=f"{back}-{nth}", bet=100, payout=payout
        )


class Visit:
    """A page with everything that it asked for and everything that it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(LIMIT_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text))

    def number(self, field: str) -> Any:
        return self.page.locator(f"#{field}")

    def shows(self, stats: dict[str, Any]) -> None:
        """The card shows this answer, or will within the limit."""
        for field in ("total_games_played", "last_30d_active_days", "lifetime_active_days"):
            expect(self.number(field)).to_have_text(f"{stats[field]:,}", timeout=LIMIT_MS)
        staked = f"{stats['bet_amount'] / 100:,.2f}"
        expect(self.number("bet_amount")).to_have_text(staked, timeout=LIMIT_MS)
        streak = stats["current_streak_days"]
        expect(self.number("current_streak_days")).to_have_text(
            f"{streak} {'day' if streak == 1 else 'days'}"
        )

    def is_live(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("live", timeout=LIMIT_MS)

    def faults(self) -> list[str]:
        """What axe-core finds serious or worse."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run()")
        return [
            f"{fault['id']}: {[node['html'] for node in fault['nodes']]}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens pages, each of a browser that knows nothing."""
    with _contexts(browser) as opened:
        yield opened


@contextmanager
def _contexts(browser: Browser) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def opened(address: str, **options: Any) -> Visit:
        context = browser.new_context(**options)
        contexts.append(context)
        made = Visit(context.new_page())
        made.page.goto(address)
        return made

    yield opened
    for context in contexts:
        context.close()


def with_tokens(api: Client, *users: int, address: str | None = None) -> str:
    """The address that `tally page` prints."""
    tokens = "&".join(f"token={mint(api.settings, user)}" for user in users)
    return f"{address or str(api.base_url).rstrip('/')}/#{tokens}"


def by_get(api: Client, user: int, **parameters: str) -> dict[str, Any]:
    answer = api.stats(user, include="by_game", **parameters)
    found: dict[str, Any] = answer.json()
    return found


def spin(api: Client, user: int) -> httpx.Response:
    event = {
        "event_id": str(uuid.uuid4()),
        "action_type": "SLOT_SPIN",
        "occurred_at": datetime.now(UTC).isoformat(),
        "context": {"round_id": uuid.uuid4().hex, "bet": 200, "payout": 700},
    }
    answer = api.post("/api/actions", json=event, headers=api.as_user(user))
    assert answer.status_code == 202, answer.text
    return answer


def test_a_round_that_is_played_changes_the_card_and_the_list_without_a_reload(
    api: Client, player: int, visit: Callable[..., Visit]
) -> None:
    with Network(api.base_url.port or 0) as network:
        seen = visit(f"{network.url}/")
        page = seen.page
        page.get_by_label("Token").fill(mint(api.settings, player))
        page.get_by_role("button", name="Sign in").click()
        seen.is_live()
        before = by_get(api, player)
        seen.shows(before)
        expect(page.locator("#games tbody tr")).to_have_count(len(before["by_game"]))
        page.evaluate("window.isTheSame = true")

        written = spin(api, player).json()
        expect(page.locator("#actions li").first).to_have_attribute(
            "data-event", written["event_id"], timeout=LIMIT_MS
        )
        expect(page.locator("#actions li").first).to_contain_text("staked 2.00, paid 7.00")
        expect(seen.number("total_games_played")).to_have_text(
            str(before["total_games_played"] + 1), timeout=LIMIT_MS
        )
        after = by_get(api, player)
        assert after["total_games_played"] == before["total_games_played"] + 1
        seen.shows(after)
        assert page.evaluate("window.isTheSame"), "no reload"
        today = page.locator("#calendar td.today")
        expect(today).to_have_attribute("title", re.compile("active, 1 events"), timeout=LIMIT_MS)

        network.cut()
        expect(page.locator("#connection")).to_have_text("reconnecting …", timeout=LIMIT_MS)
        seen.shows(after)  # what is known stays
        spin(api, player)
        network.mend()
        seen.is_live()
        expect(seen.number("total_games_played")).to_have_text(
            str(after["total_games_played"] + 1), timeout=LIMIT_MS
        )
        seen.shows(by_get(api, player))
        expect(page.locator("#actions li")).to_have_count(20)
        assert page.evaluate("window.isTheSame"), "no reload"

    asked = {url.partition("?")[0] for url in seen.requests}
    paths = {url.partition(network.url.removeprefix("http:"))[2] for url in asked}
    assert all(network.url.removeprefix("http:") in url for url in asked), "from here only"
    assert not {"/api/users/profile", "/api/games/ws", f"/api/users/{player}"} & paths
    assert {"/api/realtime/sync", "/api/users/stats/history"} <= paths
    assert not [url for url in seen.requests if "eyJ" in url], "a token is in no address"


def test_every_number_says_why(api: Client, player: int, visit: Callable[..., Visit]) -> None:
    seen = visit(with_tokens(api, player))
    page = seen.page
    stats = by_get(api, player)
    seen.shows(stats)
    assert "token" not in page.url

    page.locator("[data-field=last_30d_active_days]").click()
    dialog = page.get_by_role("dialog", name="Active in 30 days")
    expect(dialog.locator(".dates li")).to_have_count(stats["last_30d_active_days"])
    expect(dialog).to_contain_text("UTC")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.locator("[data-field=bet_amount]").click()
    days = page.get_by_role("dialog", name="Staked").locator("tbody tr")
    expect(days).to_have_count(20)
    page.keyboard.press("Escape")

    page.get_by_label("a daily login").check()
    logins = by_get(api, player, definition="daily_login")
    assert logins["lifetime_active_days"] != stats["lifetime_active_days"]
    seen.shows(logins)
    spin(api, player)
    expect(seen.number("total_games_played")).to_have_text(
        str(logins["total_games_played"] + 1), timeout=LIMIT_MS
    )
    seen.shows(by_get(api, player, definition="daily_login"))
    page.get_by_label("any action").check()
    seen.shows(by_get(api, player))
    assert seen.complaints == []


def test_the_platform_tab_shows_what_the_api_answers(
    api: Client, platform: Platform, player: int, visit: Callable[..., Visit]
) -> None:
    spin(api, player)
    seen = visit(with_tokens(api, player))
    seen.is_live()
    tabs = seen.page.get_by_role("tab")
    tabs.first.focus()
    seen.page.keyboard.press("ArrowRight")
    expect(tabs.last).to_be_focused()
    expect(seen.page.locator("#stream")).to_have_text("live", timeout=LIMIT_MS)
    expect(seen.page.locator("#dau")).to_have_text("0")
    # Ingestion may still be on its way with the round.
    stored = f"select count() from raw.events where user_id = {player} and occurred_at >= today()"
    while not platform.client.query(stored).first_row[0]:
        seen.page.wait_for_timeout(50)
    platform.materialize()
    expect(seen.page.locator("#dau")).not_to_have_text("0", timeout=LIMIT_MS)
    found = api.get("/api/metrics/global", headers=api.as_user(player)).json()
    expect(seen.page.locator("#dau")).to_have_text(str(found["today"]["dau"]))
    expect(seen.page.locator("#rounds")).to_have_text(str(found["today"]["rounds"]))
    expect(seen.page.locator("#all-users")).to_have_text(str(found["totals"]["users"]))
    (slot,) = found["today"]["by_game"]
    expect(seen.page.locator("#returns tbody tr")).to_contain_text(f"{slot['rtp']:.0%}")
    assert seen.complaints == []


def test_players_are_picked_and_a_bad_token_is_told(
    api: Client, player: int, visit: Callable[..., Visit]
) -> None:
    other = next(_users)
    seen = visit(with_tokens(api, other, player))
    page = seen.page
    seen.shows(by_get(api, other))
    expect(page.locator("#actions")).to_have_text("Nothing yet.")
    page.get_by_role("combobox", name="Player").select_option(label=str(player))
    seen.shows(by_get(api, player))
    expect(page.locator("#actions li")).to_have_count(20)

    page.reload()
    seen.shows(by_get(api, player))
    page.get_by_role("button", name="Sign out").click()
    page.reload()
    page.get_by_label("Token").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This is not a token.")).to_be_visible()
    forged = mint(api.settings, player)[:-6] + "AAAAAA"
    page.get_by_label("Token").fill(forged)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#connection")).to_have_text("this token is not valid any more")
    expect(page.get_by_text("Sign in again with a new token.")).to_be_visible()


SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


# Contrast depends on the scheme, the layout on the size, and neither on the other.
@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_axe_finds_no_serious_fault(
    api: Client, player: int, visit: Callable[..., Visit], size: str, scheme: str
) -> None:
    options = {"viewport": SIZES[size], "color_scheme": scheme, "reduced_motion": "reduce"}
    signed_out = visit(f"{api.base_url}", **options)
    assert signed_out.faults() == []
    seen = visit(with_tokens(api, player), **options)
    page = seen.page
    expect(page.locator("#calendar td.today")).to_be_attached(timeout=LIMIT_MS)
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "nothing is wider than the screen"
    assert seen.faults() == []
    page.locator("[data-field=total_games_played]").click()
    expect(page.locator("#why table")).to_be_visible()
    assert seen.faults() == []
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Platform").click()
    expect(page.locator("#all-users")).to_be_visible()
    assert seen.faults() == []


def test_axe_would_find_a_fault(api: Client, visit: Callable[..., Visit]) -> None:
    seen = visit(f"{api.base_url}")
    seen.page.evaluate("document.querySelector('label[for=token]').remove()")
    assert any("label" in fault for fault in seen.faults())


def test_the_page_may_load_nothing_from_elsewhere(api: Client) -> None:
    answer = api.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    parts = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', answer.text))
    assert parts
    assert not re.search(r"<style|<script(?![^>]*src=)| style=| on[a-z]+=", answer.text)
    for path in parts:
        part = api.get(path)
        assert part.status_code == 200
        assert part.headers["cache-control"] == "no-cache"
        known = {"If-None-Match": part.headers["etag"]}
        assert api.get(path, headers=known).status_code == 304
    for path in ("/page/endpoints.py", "/page/..%2Fapp.py", "/page/__init__.py", "/page/"):
        assert api.get(path).status_code == 404
    assert json.loads(api.get("/page/none").content)["type"] == "urn:tally:problem:not-found"
