"""The marts against the facts: every row of each, both ways, every column."""

from collections.abc import Callable
from dataclasses import dataclass

import duckdb
from clickhouse_connect.driver import Client

from tally.verify.export import copy
from tally.verify.proof import Proof


@dataclass(frozen=True, slots=True)
class Mart:
    """A relation of the database `marts`; `expected_<relation>` says what it must hold.

    `nightly`: it is rebuilt by the deep run, and may be behind until then. `versioned`: it is read
    with FINAL. `zeros`: a row that says 0 in every column is the same as no
    row, because a day that lost its last round keeps one.
    """

    relation: str
    key: tuple[str, ...]
    nightly: bool = False
    versioned: bool = False
    zeros: bool = False


MARTS = (
    Mart("user_days", ("user_id", "date"), versioned=True, zeros=True),
    Mart("user_game_days", ("user_id", "date", "game_type"), versioned=True, zeros=True),
    Mart("game_rounds", ("user_id", "round_id"), versioned=True),
    Mart("sessions", ("user_id", "session_number"), nightly=True),
    Mart("streaks", ("user_id", "date")),
    Mart("purchases", ("user_id", "purchase_id")),
    Mart("purchase_funnel", ("date", "item_id")),
    Mart("gold_ledger", ("event_id",)),
    Mart("gold_balances", ("user_id",)),
    Mart("lockouts", ("event_id",)),
    Mart("achievements", ("user_id", "achievement_code")),
    Mart("battle_pass", ("user_id", "season")),
    Mart("user_journeys", ("user_id",)),
    Mart("journey_funnel", ("date",)),
    Mart("realtime_connections", ("event_id",)),
    Mart("deprecated_endpoint_calls", ("date", "path", "method", "successor")),
    Mart("fraud_velocity", ("user_id", "hour")),
    Mart("hourly_realtime", ("hour", "path")),
    Mart("hourly_ingestion", ("hour",)),
    Mart("hourly_record", ("hour",)),
    Mart("hourly_dead_letters", ("hour", "reason")),
    Mart("daily_metrics", ("date",)),
    Mart("daily_game_metrics", ("date", "game_type", "config_version")),
    Mart("hourly_metrics", ("hour",)),
    Mart("hourly_logins", ("hour",)),
    Mart("hourly_purchases", ("hour",)),
    Mart("retention", ("cohort_date", "day_n")),
)


def compare_marts(
    warehouse: Client,
    database: duckdb.DuckDBPyConnection,
    proof: Proof,
    progress: Callable[[str], None],
    *,
    deep: bool,
) -> None:
    """Fetch every mart, of the nightly ones only if `deep`, and compare it with the facts."""
    for mart in MARTS:
        if mart.nightly and not deep:
            proof.not_compared.append(f"marts.{mart.relation}")
            continue
        columns = _columns(database, f"expected_{mart.relation}")
        final = " final" if mart.versioned else ""
        read = ", ".join(_read(name, kind) for name, kind in columns.items())
        query = f"select {read} from marts.{mart.relation}{final}"
        copy(warehouse, query, database, f"mart_{mart.relation}", progress)
        _compare(database, mart, columns, proof)


def _read(column: str, kind: str) -> str:
    """In Arrow a DateTime is a bare number (with milliseconds a time in UTC), a UUID bare bytes."""
    if "TIME ZONE" in kind:
        return f"toDateTime64({column}, 3, 'UTC') as {column}"
    return f"toString({column}) as {column}" if kind == "VARCHAR" else column


def _columns(database: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table and their types."""
    described = database.execute(f"describe {table}").fetchall()
    return {name: kind for name, kind, *_ in described}


def _compare(
    database: duckdb.DuckDBPyConnection, mart: Mart, columns: dict[str, str], proof: Proof
) -> None:
    source = f"marts.{mart.relation}"
    key = ", ".join(mart.key)
    metrics = [name for name in columns if name not in mart.key]

    def value(side: str, name: str) -> str:
        typed = f"cast({side}.{name} as {columns[name]})"
        return f"coalesce({typed}, cast(0 as {columns[name]}))" if mart.zeros else typed

    def is_there(side: str) -> str:
        return f"coalesce({side}.there, {mart.zeros})"

    pairs = [(value("expected", name), value("mart", name)) for name in metrics]
    pairs.append((is_there("expected"), is_there("mart")))
    joined = f"""
        from (select *, true as there from expected_{mart.relation}) as expected
        full join (select *, true as there from mart_{mart.relation}) as mart using ({key})
    """
    sides = ", ".join(side for pair in pairs for side in pair)
    differs = " or ".join(f"{wanted} is distinct from {found}" for wanted, found in pairs)
    ((rows,),) = database.execute(f"select count(*) {joined}").fetchall()
    proof.compared(source, metrics, rows)
    differing = database.execute(f"select {key}, {sides} {joined} where {differs} order by all")
    for row in differing.fetchall():
        at = dict(zip(mart.key, row, strict=False))
        *values, wanted_there, found_there = row[len(mart.key) :]
        if not (wanted_there and found_there):
            present = {True: "present", False: "absent"}
            proof.differs(source, "row", at, present[wanted_there], present[found_there])
            continue
        for metric, wanted, found in zip(metrics, values[::2], values[1::2], strict=True):
            if wanted != found:
                proof.differs(source, metric, at, wanted, found)
