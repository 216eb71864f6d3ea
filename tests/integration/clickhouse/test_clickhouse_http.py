"""The HTTP interface as curl sees it: statements, formats, parameters, sessions, errors."""

import gzip
import io
import json
import subprocess
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.integration.clickhouse.plain import Http, running, wait_until
from tests.servers import RunningServer, start_clickhouse

ENDLESS = "select count() from numbers_mt(1000000000000000) where not ignore(sipHash64(number))"


def test_a_person_with_curl_gets_answers_and_exit_codes(warehouse: RunningServer) -> None:
    def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["curl", "-sS", "--fail-with-body", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    assert curl(f"{warehouse.url}/ping").stdout == "Ok.\n"
    assert curl(f"{warehouse.url}/").stdout == "Ok.\n"
    assert curl(f"{warehouse.url}/replicas_status").stdout == "Ok.\n"
    assert curl(warehouse.url, "-d", "select 1, 'a'").stdout == "1\ta\n"
    assert curl(f"{warehouse.url}/?query=select+2").stdout == "2\n"
    failed = curl(warehouse.url, "-d", "select nope")
    assert failed.returncode == 22
    assert failed.stdout.startswith("Code: 47. DB::Exception: ")
    assert "(UNKNOWN_IDENTIFIER) (version 26." in failed.stdout
    # An error in the middle of the answer must not look like its end.
    broken = curl(warehouse.url, "-d", "select throwIf(number = 3000000) from numbers(5000000)")
    assert broken.returncode == 18
    assert "Code: 395. DB::Exception" in broken.stdout[-1000:]


def test_answers_carry_clickhouses_headers(http: Http) -> None:
    response = http.post("select number from numbers(3) format JSONCompact", query_id="mine")
    headers = response.headers
    assert headers["x-clickhouse-query-id"] == "mine"
    assert headers["x-clickhouse-format"] == "JSONCompact"
    assert headers["x-clickhouse-timezone"] == "UTC"
    assert headers["x-clickhouse-server-display-name"]
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert json.loads(headers["x-clickhouse-summary"])["result_rows"] == "3"


def test_the_time_zone_is_utc_whatever_the_machines_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    with start_clickhouse(tmp_path / "data") as server:
        answer = httpx.post(server.url, content="select timezone(), toDateTime(0)").text
    assert answer == "UTC\t1970-01-01 00:00:00\n"


@pytest.mark.parametrize(
    ("statement", "code", "status"),
    [
        ("selec 1", 62, 400),
        ("select * from no_such_table", 60, 404),
        ("use no_such_database", 81, 404),
        ("select 1; select 2", 62, 400),
        ("", 62, 400),
        ("select 1 format NoSuchFormat", 73, 404),
        ("insert into no_such_table format JSONEachRow {}", 60, 404),
        ("select throwIf(1)", 395, 500),
    ],
)
def test_an_error_has_clickhouses_code_and_status(
    http: Http, statement: str, code: int, status: int
) -> None:
    response = http.post(statement)
    assert response.status_code == status
    assert response.headers["x-clickhouse-exception-code"] == str(code)
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")


def test_get_only_reads(http: Http) -> None:
    assert http.get(query="select 1").text == "1\n"
    refused = http.get(query="create table t (a Int8) engine = Memory")
    assert refused.headers["x-clickhouse-exception-code"] == "164"


@pytest.mark.parametrize("format_name", ["Native", "RowBinaryWithNamesAndTypes"])
def test_an_empty_result_still_names_its_columns(http: Http, format_name: str) -> None:
    select = "select 1 as a, 'x'::LowCardinality(String) as b where 0"
    with_rows = http.post(f"{select} or 1 format {format_name}").content
    empty = http.post(f"{select} format {format_name}").content
    assert empty.startswith(b"\x02")
    assert b"LowCardinality(String)" in empty
    assert len(empty) < len(with_rows)


@pytest.mark.parametrize(
    "statement",
    [
        "show tables like 'nothing' format Native",
        "with 1 as x select x where 0 settings max_threads = 1 format Native;",
        "(select 1 as a where 0) union all (select 2 where 0) -- the end\nformat Native",
        "select {n:UInt8} as a where 0 format native",
    ],
)
def test_an_empty_native_result_is_a_block_of_no_rows(http: Http, statement: str) -> None:
    assert http.post(statement, param_n="1").content.startswith(b"\x01\x00")


def test_statements_without_a_result_answer_with_nothing_in_native(http: Http) -> None:
    for statement in ("create database d1", "drop database d1", "set max_threads = 1"):
        assert http.post(statement, default_format="Native").content == b""


def test_framed_formats_come_whole_however_large(http: Http) -> None:
    rows = 300_000
    select = f"select number as n, toString(number) as s from numbers({rows}) format "
    assert len(http.post(select + "CSVWithNames").text.splitlines()) == rows + 1
    assert len(http.post(select + "JSON").json()["data"]) == rows
    assert pq.read_table(io.BytesIO(http.post(select + "Parquet").content)).num_rows == rows
    arrow = http.post(select + "ArrowStream").content
    assert pa.ipc.open_stream(arrow).read_all().num_rows == rows


def test_totals_are_not_lost_in_streamed_formats(http: Http) -> None:
    text = http.text("select number % 2 as a, count() from numbers(4) group by a with totals")
    assert text.splitlines() == ["0\t2", "1\t2", "", "0\t4"]


def test_large_answers_are_streamed_in_bounded_memory(http: Http, warehouse: RunningServer) -> None:
    def resident_mib() -> int:
        status = Path(f"/proc/{warehouse.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    before, size, most = resident_mib(), 0, 0
    select = "select number, toString(number) from numbers(30000000) format RowBinary"
    with http.client.stream("POST", "/", content=select) as response:
        for nth, piece in enumerate(response.iter_raw()):
            size += len(piece)
            if nth % 256 == 0:
                most = max(most, resident_mib())
    assert size > 400 * 2**20
    assert most - before < 150


def test_wait_end_of_query_turns_a_late_error_into_a_status(http: Http) -> None:
    late = "select throwIf(number = 3000000) from numbers(5000000)"
    assert http.post(late, wait_end_of_query="1").status_code == 500


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ("String", "it's", "it's"),
        ("String", r"line\nbreak\\slash\ttab", "line\nbreak\\slash\ttab"),
        ("Array(UInt64)", "[1,2,3]", "[1,2,3]"),
        ("Array(String)", r"['it\'s','b']", r"['it\'s','b']"),
        ("Nullable(String)", r"\N", r"\N"),
        ("DateTime('UTC')", "2024-02-29 00:00:00", "2024-02-29 00:00:00"),
        ("UUID", "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
    ],
)
def test_parameters_arrive_as_they_were_given(
    http: Http, declared: str, given: str, expected: str
) -> None:
    answer = http.text(f"select {{value:{declared}}} format TSVRaw", param_value=given)
    assert answer == expected


def test_parameters_name_tables_and_reach_inserts_and_views(http: Http, table: str) -> None:
    http.text(
        "insert into {t:Identifier} select {id:UInt64}, {name:String}",
        param_t=table,
        param_id="7",
        param_name=r"a\nb",
    )
    http.text(
        f"insert into {table} values ({{id:UInt64}}, {{name:String}})",
        param_id="8",
        param_name="it's",
    )
    http.text(
        f"create or replace view some as (select id from {table} where id in {{ids:Array(UInt64)}})"
    )
    assert http.text("select * from some(ids = {x:Array(UInt64)})", param_x="[8, 9]") == "8"
    missing = http.post("select {nothing:String}")
    assert missing.headers["x-clickhouse-exception-code"] == "456"
    http.text("drop view some")


def test_a_setting_holds_for_its_own_query_only(http: Http) -> None:
    select = "select getSetting('max_block_size')"
    own = http.text(select)
    assert http.text(select, max_block_size="17") == "17"
    assert http.text(select) == own
    unknown = http.post("select 1", no_such_setting="1")
    assert (unknown.status_code, unknown.headers["x-clickhouse-exception-code"]) == (404, "115")


def test_set_and_use_outside_of_a_session_are_forgotten(http: Http) -> None:
    http.text("set max_block_size = 18")
    http.text("use system")
    assert http.text("select getSetting('max_block_size') = 18, currentDatabase()") == "0\tdefault"
    assert http.text("select currentDatabase()", database="system") == "system"


def test_a_session_keeps_its_tables_and_settings(http: Http) -> None:
    ask = "select getSetting('max_block_size'), currentDatabase()"
    http.text("create temporary table mine as select 1 as a", session_id="s1")
    http.text("set max_block_size = 19", session_id="s1")
    http.text("use system", session_id="s1")
    assert http.text("select a from mine", session_id="s1") == "1"
    assert http.text(ask, session_id="s1") == "19\tsystem"
    assert http.text(ask, session_id="s1", max_block_size="20", database="default") == "20\tdefault"
    assert http.text(ask, session_id="s1") == "19\tsystem"
    assert http.post("select a from mine", session_id="s2").status_code == 404
    assert http.post("select a from mine").status_code == 404


def test_read_only_is_for_a_request_or_for_a_whole_session(http: Http, table: str) -> None:
    insert = f"insert into {table} values (1, 'a')"
    for level in ("1", "2"):
        assert http.text("select 1", readonly=level) == "1"
        assert http.post(insert, readonly=level).headers["x-clickhouse-exception-code"] == "164"
    assert http.post("select 1", readonly="1", session_id="r1").status_code == 501
    assert http.text("select 1", session_id="r1") == "1"
    http.text("set readonly = 1", session_id="r1")
    assert http.text("select 1", session_id="r1") == "1"
    assert http.post(insert, session_id="r1").headers["x-clickhouse-exception-code"] == "164"


def test_sessions_are_checked_locked_and_forgotten(http: Http) -> None:
    unknown = http.post("select 1", session_id="never", session_check="1")
    assert unknown.headers["x-clickhouse-exception-code"] == "372"
    too_long = http.post("select 1", session_id="s3", session_timeout="9999999")
    assert too_long.headers["x-clickhouse-exception-code"] == "374"
    http.text("select 1", session_id="s4", session_timeout="0")
    gone = http.post("select 1", session_id="s4", session_check="1")
    assert gone.headers["x-clickhouse-exception-code"] == "372"

    thread = threading.Thread(
        target=lambda: http.post(ENDLESS, session_id="s5", query_id="in_session")
    )
    thread.start()
    wait_until(lambda: running(http, "in_session"))
    locked = http.post("select 1", session_id="s5")
    assert locked.headers["x-clickhouse-exception-code"] == "373"
    http.text("kill query where query_id = 'in_session' sync")
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("format_name", "data"),
    [
        ("JSONEachRow", b'{"id":1,"name":"a"}\n{"id":2,"name":"b;c"}\n'),
        ("CSV", b'1,"a"\n2,"b;c"\n'),
        ("CSVWithNames", b'"name","id"\n"a",1\n"b;c",2\n'),
        ("TSV", b"1\ta\n2\tb;c\n"),
        ("Values", b"(1, lower('A')), (2, 'b;c')"),
        (
            "RowBinary",
            b"".join(
                n.to_bytes(8, "little") + bytes([len(s)]) + s for n, s in ((1, b"a"), (2, b"b;c"))
            ),
        ),
        (
            "Native",
            b"\x02\x02\x02id\x06UInt64"
            + (1).to_bytes(8, "little")
            + (2).to_bytes(8, "little")
            + b"\x04name\x06String\x01a\x03b;c",
        ),
    ],
)
@pytest.mark.parametrize("in_body", [True, False])
def test_inserts_of_every_format(
    http: Http, table: str, format_name: str, data: bytes, in_body: bool
) -> None:
    statement = f"insert into {table} format {format_name}"
    if in_body:
        response = http.post(statement.encode() + b"\n" + data)
    else:
        response = http.insert(statement, data)
    assert response.status_code == 200, response.text
    assert json.loads(response.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert http.text(f"select * from {table} order by id") == "1\ta\n2\tb;c"


def test_inserts_of_columnar_files(http: Http, table: str) -> None:
    rows = pa.table({"id": pa.array([1, 2], pa.uint64()), "name": ["a", "b"]})
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(rows, parquet)
    with pa.ipc.new_stream(arrow, rows.schema) as writer:
        writer.write_table(rows)
    http.insert(f"insert into {table} format Parquet", parquet.getvalue())
    http.insert(f"insert into {table} (id, name) format ArrowStream", arrow.getvalue())
    assert http.text(f"select count(), sum(id) from {table}") == "4\t6"


def test_values_stand_in_the_statement_too(http: Http, table: str) -> None:
    http.text(f"insert into {table} (name, id) values ('format', 1), ('--', 1 + 1);")
    http.insert(f"insert into {table} values", b"(3, '\\'')")
    assert http.text(f"select * from {table} order by id format TSVRaw") == "1\tformat\n2\t--\n3\t'"


def test_a_large_insert_is_one_part_however_it_is_cut(http: Http, table: str) -> None:
    rows = 400_000
    data = b"".join(b'{"id":%d,"name":"%032d"}\n' % (n, n) for n in range(rows))
    assert len(data) > 16 * 2**20
    http.insert(f"insert into {table} format JSONEachRow", data, input_format_parallel_parsing="0")
    parts = f"select count(), sum(rows) from system.parts where active and table = '{table}'"
    assert http.text(parts) == f"1\t{rows}"


def test_a_bad_insert_stores_nothing_and_says_why(http: Http, table: str) -> None:
    bad = http.post(f'insert into {table} format JSONEachRow {{"id":1}} {{"id":"x"}}')
    assert bad.status_code == 400
    assert "while reading the value of key id" in bad.text
    refused = http.post(f"insert into {table} select * from input('id UInt64') format CSV 1")
    assert refused.status_code == 501
    assert http.text(f"select count() from {table}") == "0"


def test_rows_that_a_constraint_or_a_view_refuses_are_an_error(http: Http, table: str) -> None:
    http.text(f"alter table {table} add constraint short check length(name) < 3")
    http.text(
        f"create materialized view {table}_v engine = Memory as select throwIf(id = 9) as x "
        f"from {table}"
    )
    for statement in (
        f"insert into {table} values (1, 'a'), (2, 'long')",
        f"insert into {table} settings async_insert = 0 format CSV\n1,a\n2,long",
    ):
        refused = http.post(statement)
        assert refused.headers["x-clickhouse-exception-code"] == "469"
    refused = http.post(f"insert into {table} values (9, 'a')")
    assert refused.headers["x-clickhouse-exception-code"] == "395"
    assert http.text(f"select count() from {table} where id != 9") == "0"
    http.text(f"drop table {table}_v")


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def test_bodies_are_compressed_both_ways(http: Http, table: str) -> None:
    encoders: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "lz4": lz4.frame.compress,
        "zstd": _zstd,
    }
    for encoding, compress in encoders.items():
        response = http.client.post(
            "/",
            params={"query": f"insert into {table} format TSV"},
            # Two members, as concatenated files have.
            content=compress(b"1\ta\n") + compress(b"2\tb\n"),
            headers={"content-encoding": encoding},
        )
        assert response.status_code == 200, (encoding, response.text)
    assert http.text(f"select count() from {table}") == str(2 * len(encoders))

    decoders: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    for size in (5_000, 2_000_000):
        plain = "".join(f"{n}\n" for n in range(size)).encode()
        for encoding, decompress in decoders.items():
            with http.client.stream(
                "POST",
                "/",
                content=f"select number from numbers({size})",
                headers={"accept-encoding": encoding},
                params={"enable_http_compression": "1"},
            ) as response:
                assert response.headers["content-encoding"] == encoding
                assert decompress(b"".join(response.iter_raw())) == plain


def test_a_damaged_or_unknown_encoding_is_an_error(http: Http, table: str) -> None:
    def insert(data: bytes, encoding: str) -> httpx.Response:
        return http.client.post(
            "/",
            params={"query": f"insert into {table} format TSV"},
            content=data,
            headers={"content-encoding": encoding},
        )

    whole = gzip.compress(b"1\ta\n" * 1000)
    for data, encoding in ((whole[:-9], "gzip"), (b"nonsense", "zstd"), (b"x", "lz4")):
        assert insert(data, encoding).headers["x-clickhouse-exception-code"] == "271"
    assert insert(b"x", "snappy").headers["x-clickhouse-exception-code"] == "89"
    assert http.text(f"select count() from {table}") == "0"


def test_tables_come_with_a_query_as_files(http: Http) -> None:
    response = http.client.post(
        "/",
        params={
            "query": "select sum(id), any(_1) from ids, pairs where name != {no:String}",
            "ids_structure": "id UInt64, name String",
            "pairs_types": "Decimal(9, 2),String",
            "pairs_format": "CSV",
            "param_no": "c",
        },
        files={"ids": ("ids", b"1\ta\n2\tb\n9\tc\n"), "pairs": ("pairs", b"1.50,x\n")},
    )
    assert (response.status_code, response.text) == (200, "3\t1.5\n")


def test_query_and_parameters_come_as_form_fields(http: Http) -> None:
    response = http.client.post(
        "/",
        data={"param_a": "7"},
        files={"query": (None, "select {a:UInt8} + 1")},
    )
    assert response.text == "8\n"


def test_a_query_is_killed_by_its_clients_id(http: Http) -> None:
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(http.post(ENDLESS, query_id="endless")))
    thread.start()
    wait_until(lambda: running(http, "endless"))
    twice = http.post("select 1", query_id="endless")
    assert twice.headers["x-clickhouse-exception-code"] == "216"
    http.text("kill query where query_id = 'endless' sync")
    thread.join(10)
    assert answers[0].headers["x-clickhouse-exception-code"] == "394"
    assert not running(http, "endless")


def test_a_client_that_waits_and_leaves_ends_its_query(
    http: Http, warehouse: RunningServer
) -> None:
    url = httpx.URL(
        warehouse.url,
        params={"query_id": "left", "cancel_http_readonly_queries_on_client_close": "1"},
    )
    curl = subprocess.Popen(["curl", "-sS", str(url), "-d", ENDLESS])
    try:
        wait_until(lambda: running(http, "left"))
    finally:
        curl.kill()
        curl.wait()
    wait_until(lambda: not running(http, "left"))


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_its_query(
    http: Http, warehouse: RunningServer
) -> None:
    url = httpx.URL(warehouse.url, params={"query_id": "bored"})
    endless = "select number from numbers(1000000000000000)"
    with httpx.stream("POST", url, content=endless):
        assert running(http, "bored")
    wait_until(lambda: not running(http, "bored"))


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    with start_clickhouse(tmp_path / "data", password="geheim ñ") as server:

        def ask(**kwargs: object) -> httpx.Response:
            return httpx.post(server.url, content="select 1", **kwargs)  # type: ignore[arg-type]

        nothing = ask()
        assert (nothing.status_code, nothing.headers["x-clickhouse-exception-code"]) == (401, "194")
        assert nothing.headers["www-authenticate"].startswith("Basic ")
        wrong = ask(auth=("default", "wrong"))
        assert (wrong.status_code, wrong.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert ask(auth=("somebody", "geheim ñ")).status_code == 403
        assert ask(auth=("default", "geheim ñ")).text == "1\n"
        assert ask(params={"user": "default", "password": "geheim ñ"}).text == "1\n"
        assert ask(headers={"X-ClickHouse-User": "default"}).status_code == 403
        assert httpx.get(f"{server.url}/ping").text == "Ok.\n"


def test_backups_are_written_and_restored(http: Http, table: str) -> None:
    http.text(f"insert into {table} values (1, 'a')")
    http.text(f"backup table {table} to File('{table}')")
    http.text(f"truncate table {table}")
    http.text(f"restore table {table} from File('{table}') settings allow_non_empty_tables = 1")
    assert http.text(f"select * from {table}") == "1\ta"
