"""The circuit breaker: what the blocking checks said, and the state that people read for it.

The marts are built aside, in `marts`. Once every blocking check has passed, each table of
`published` is made anew as a clone of its mart: hard links and one atomic exchange, some 20 ms a
table whatever its size. While the latest result of a blocking check is a failure nothing is
published, and `marts.freshness` says `held`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver import Client

from orchestration.lib.backfill import requested
from tally.backlog import messages_behind

WATERMARKS = "watermarks"

_LATEST = """
select
    check_name, argMax(asset, evaluated_at), argMax(passed, evaluated_at),
    argMax(blocking, evaluated_at), argMax(message, evaluated_at)
from marts.check_results
group by check_name
"""
_PUBLISHED = "select name from system.tables where database = 'published' order by name"
_WATERMARK = """
select max(newest_appended_at) from raw.ingest_ledger
where kind = 'stored' and (stream, toInt64(last_offset)) in (
    select stream, max(toInt64(last_offset)) from raw.ingest_ledger as ledger
    inner join (
        select stream, min(to_offset) as to_offset from marts.watermarks final group by stream
    ) as seen using (stream)
    where kind = 'stored' and toInt64(last_offset) <= seen.to_offset
    group by stream
)
"""


@dataclass(frozen=True)
class CheckResult:
    """What one evaluation of one quality check found."""

    check_name: str
    asset: str
    passed: bool
    blocking: bool
    message: str = ""


@dataclass(frozen=True)
class Publication:
    """What a publication did: the tables it made anew, or the checks that held it back."""

    tables: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()


def record(client: Client, results: Collection[CheckResult], run_id: str) -> None:
    """Write down results; from now on they decide whether the published state is held."""
    if results:
        client.insert(
            "marts.check_results",
            [[r.check_name, r.asset, r.passed, r.blocking, run_id, r.message] for r in results],
            column_names=["check_name", "asset", "passed", "blocking", "run_id", "message"],
        )


def latest_results(client: Client) -> list[CheckResult]:
    """The latest result of each check, by name."""
    return sorted(
        (CheckResult(*row) for row in client.query(_LATEST).result_rows),
        key=lambda result: result.check_name,
    )


def held_by(client: Client) -> tuple[str, ...]:
    """The blocking checks whose latest result is a failure."""
    return tuple(
        result.check_name
        for result in latest_results(client)
        if result.blocking and not result.passed
    )


def retire(client: Client, known: Collection[str], run_id: str) -> tuple[str, ...]:
    """Let go of checks that hold the state and that the code no longer has; their names."""
    gone = tuple(name for name in held_by(client) if name not in known)
    record(client, [CheckResult(name, "", True, True, "retired") for name in gone], run_id)
    return gone


def reason_to_run(client: Client) -> str | None:
    """Why a materialization has work to do; None where it would find nothing new."""
    if behind := messages_behind(client):
        return f"{behind} messages behind"
    if days := requested(client):
        return f"{days} user-days requested"
    if not client.command("exists published.watermarks"):
        return None
    if has_unpublished(client):
        return "unpublished"
    if holding := held_by(client):
        return f"held by {', '.join(holding)}"
    return None


def has_unpublished(client: Client) -> bool:
    """Whether a run has moved the marts since the last publication."""
    return bool(
        client.command(
            "select (select max(version) from marts.watermarks)"
            " > (select max(version) from published.watermarks)"
        )
    )


def publish(client: Client, run_id: str) -> Publication:
    """Clone the marts into what people read, unless a blocking check holds it.

    The watermarks come last: until then readers take a day that is newer than its watermark from
    raw, which gives the same number.
    """
    if holding := held_by(client):
        return Publication(held_by=holding)
    tables = _in_order([name for (name,) in client.query(_PUBLISHED).result_rows])
    watermark = client.command(_WATERMARK) or None
    for table in tables:
        # Never wait for the old table to be dropped: a reader's long query would hold up everyone.
        client.command(f"create or replace table published.`{table}` clone as marts.`{table}`")
    client.command(
        "insert into marts.publications (run_id, watermark, tables) values"
        " ({run_id:String}, parseDateTime64BestEffortOrNull({watermark:String}, 3, 'UTC'),"
        " {tables:UInt16})",
        parameters={"run_id": run_id, "watermark": str(watermark or ""), "tables": len(tables)},
    )
    return Publication(tables=tuple(tables))


def _in_order(tables: Sequence[str]) -> list[str]:
    return [*(name for name in tables if name != WATERMARKS), WATERMARKS]
