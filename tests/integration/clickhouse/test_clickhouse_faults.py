"""What the embedded warehouse promises when things break: a crash, a retry, a second owner."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.clickhouse.plain import Http, running, wait_until
from tests.servers import RunningServer, start_clickhouse

RAW = Path(__file__).parents[3] / "ingest" / "migrations" / "0001_raw.sql"
STRESS_S = 8


def statements(script: str) -> list[str]:
    """The statements of a migration; none of them has a semicolon inside."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [text for text in "\n".join(lines).split(";") if text.strip()]


def batch(http: Http, first: int, rows: int) -> bytes:
    """A block of accepted messages as ingestion sends it."""
    return http.post(
        f"""
        select 'c' as cluster_id, 'user-actions' as topic, {first} + number as offset,
            'c/user-actions/0' as stream, now64(3, 'UTC') as appended_at,
            appended_at as received_at, generateUUIDv4() as event_id, number % 100 as user_id,
            'SLOT_SPIN' as action_type, 'user' as initiator, appended_at as occurred_at,
            toString(number) as round_id, 'settled' as round_state, 'slot' as game_type,
            toInt64(1) as bet
        from numbers({rows}) format Native settings max_block_size = 1000000
        """
    ).content


COLUMNS = (
    "cluster_id, topic, offset, stream, appended_at, received_at, event_id, user_id, "
    "action_type, initiator, occurred_at, round_id, round_state, game_type, bet"
)


@pytest.fixture(scope="module")
def raw(http: Http) -> Http:
    """The warehouse with the project's own raw schema."""
    for statement in statements(RAW.read_text()):
        http.text(statement)
    return http


@pytest.mark.parametrize("rows", [1, 50_000])
def test_a_retry_with_the_same_token_stores_nothing_twice(raw: Http, rows: int) -> None:
    def counts() -> str:
        return raw.text(
            "select (select count() from raw.events), (select count() from raw.arrivals), "
            "(select count() from raw.round_events), (select count() from raw.dead_letters)"
        )

    def insert(token: str) -> None:
        raw.insert(
            f"insert into raw.landing ({COLUMNS}) format Native",
            data,
            insert_deduplication_token=token,
            deduplicate_blocks_in_dependent_materialized_views="1",
            async_insert="0",
        )

    for table in ("events", "arrivals", "round_events"):
        raw.text(f"truncate table raw.{table}")
    data = batch(raw, 0, rows)
    for _ in range(3):
        insert(f"c/user-actions/0:{rows}")
    assert counts() == f"{rows}\t{rows}\t{rows}\t0"
    data = batch(raw, rows, rows)
    insert(f"c/user-actions/0:{rows}-next")
    assert raw.text("select count() from raw.arrivals") == str(2 * rows)


def test_rows_that_were_acknowledged_survive_kill_9(tmp_path: Path) -> None:
    server = start_clickhouse(tmp_path / "data")
    httpx.post(
        server.url, content="create table t (id UInt64) engine = MergeTree order by id"
    ).raise_for_status()
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        number = 0
        with httpx.Client(base_url=server.url, timeout=10) as client:
            while True:
                rows = "".join(f"({number + n})," for n in range(50)).rstrip(",")
                try:
                    response = client.post("/", content=f"insert into t values {rows}")
                except httpx.TransportError:
                    return
                assert response.status_code == 200, response.text
                number += 50
                acknowledged.append(number)
                if len(acknowledged) >= 100:
                    enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(60)
    server.kill()
    writer.join(20)
    with start_clickhouse(tmp_path / "data") as server:
        answer = httpx.post(
            server.url, content="select count(), uniqExact(id), max(id) from t"
        ).text
    count, distinct, largest = map(int, answer.split())
    # The insert in flight may be there too, whole.
    assert count in (acknowledged[-1], acknowledged[-1] + 50)
    assert (distinct, largest) == (count, count - 1)


def test_a_folder_has_one_owner(warehouse: RunningServer, tmp_path: Path) -> None:
    path = Path(f"/proc/{warehouse.pid}/cmdline").read_bytes().split(b"\0")[4].decode()
    second = subprocess.run(
        [sys.executable, "-m", "tally.local.clickhouse", "--path", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "error: The warehouse in" in second.stderr
    assert "One process owns a folder" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_told(warehouse: RunningServer, tmp_path: Path) -> None:
    port = warehouse.url.rsplit(":", 1)[1]
    second = subprocess.run(
        [sys.executable, "-m", "tally.local.clickhouse", "--path", str(tmp_path), "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"error: Port {port} of 127.0.0.1 cannot be used" in second.stderr


def test_sigterm_ends_cleanly_and_cancels_what_runs(tmp_path: Path) -> None:
    server = start_clickhouse(tmp_path / "data")
    answers: list[httpx.Response] = []
    with Http(server.url).client as client:
        http = Http(server.url)
        http.text("create table t (id UInt64) engine = MergeTree order by id")
        http.text("insert into t values (1)")
        endless = "select count() from numbers_mt(1000000000000000) where sipHash64(number) = 1"
        thread = threading.Thread(
            target=lambda: answers.append(
                client.post("/", content=endless, params={"query_id": "endless"})
            )
        )
        thread.start()
        wait_until(lambda: running(http, "endless"))
        assert server.stop() == 0
        thread.join(5)
    assert answers[0].headers["x-clickhouse-exception-code"] == "394"
    assert not (tmp_path / "data.url").exists()
    with start_clickhouse(tmp_path / "data") as server:
        assert httpx.post(server.url, content="select count() from t").text == "1\n"


def test_a_crowd_of_readers_writers_and_ddl_breaks_nothing(tmp_path: Path) -> None:
    """Readers always see a consistent table while others insert, mutate, exchange and drop."""
    with start_clickhouse(tmp_path / "data") as server:
        http = Http(server.url)
        http.text("create table t (id UInt64, n UInt64) engine = MergeTree order by id")
        http.text("create table sums (n UInt64) engine = MergeTree order by tuple()")
        http.text("create materialized view v to sums as select n from t")
        end = time.monotonic() + STRESS_S
        inserted = [0] * 3
        failures: list[str] = []
        rounds: dict[str, int] = {}

        def run(name: str, step: Callable[[Http, int], None]) -> None:
            mine = Http(server.url)
            nth = 0
            try:
                while time.monotonic() < end:
                    step(mine, nth)
                    nth += 1
            except BaseException as error:
                failures.append(f"{name}: {error!r}")
            rounds[name] = nth

        def writer(which: int) -> Callable[[Http, int], None]:
            def step(mine: Http, nth: int) -> None:
                mine.text(f"insert into t select number, {which} from numbers(100)")
                inserted[which] += 100

            return step

        def reader(mine: Http, nth: int) -> None:
            before = sum(inserted)
            assert int(mine.text("select count() from t")) >= before

        def streamer(mine: Http, nth: int) -> None:
            lines = mine.text("select number from numbers(200000)").count("\n")
            assert lines == 199_999

        def ddl(mine: Http, nth: int) -> None:
            mine.text(
                f"create or replace table d{nth % 3} engine = MergeTree order by id as "
                "select id, n from t limit 1000"
            )
            mine.text(
                f"create table if not exists x{nth} (id UInt64) engine = MergeTree order by id"
            )
            mine.text(f"alter table x{nth} add column m String")
            mine.text(f"drop table x{nth}")
            mine.text("create or replace view w as select * from t")

        def merger(mine: Http, nth: int) -> None:
            mine.text("optimize table t final")
            mine.text("create temporary table mine as select 1 as a", session_id=f"m{nth}")
            assert mine.text("select a from mine", session_id=f"m{nth}") == "1"

        def loser(mine: Http, nth: int) -> None:
            assert mine.post("select throwIf(number = 100) from numbers(1000)").status_code == 500
            assert mine.post("insert into t format CSV\nx,y").status_code == 400

        crowd = [
            threading.Thread(target=run, args=(name, step))
            for name, step in (
                *((f"writer {n}", writer(n)) for n in range(3)),
                ("reader 1", reader),
                ("reader 2", reader),
                ("streamer", streamer),
                ("ddl", ddl),
                ("merger", merger),
                ("loser", loser),
            )
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(STRESS_S + 60)
        assert failures == []
        assert all(count > 5 for count in rounds.values()), rounds
        total = str(sum(inserted))
        assert http.text("select count() from t") == total
        assert http.text("select count() from sums") == total
        assert server.process.poll() is None
