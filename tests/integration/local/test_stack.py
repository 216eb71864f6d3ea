"""The local stack: real processes under a real supervisor, and the accidents that befall them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.local.stacks import StackUnderTest, wait_until, without


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[StackUnderTest]:
    # A space, and characters that begin a comment in supervisord's configuration.
    found = StackUnderTest(tmp_path / "a stack ;#1")
    with ExitStack() as after:
        after.callback(found.run, "down")
        yield found


def test_a_stack_starts_answers_and_stops(stack: StackUnderTest) -> None:
    started = stack.up("clickhouse", "kafka", "migrate", "ingest")
    assert started.returncode == 0, started.stdout + started.stderr
    status = json.loads(stack.run("status", "--json").stdout)
    assert status["ready"] is True, status
    assert set(status["services"]) == {"clickhouse", "kafka", "migrate", "ingest"}
    with urllib.request.urlopen(f"{status['clickhouse']['url']}/ping") as answer:
        assert answer.read() == b"Ok.\n"
    host, _, port = status["kafka"]["bootstrap"].partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()

    # A second `up` changes nothing.
    again = stack.run("up")
    assert again.returncode == 0
    assert "runs already" in again.stdout
    assert json.loads(stack.run("status", "--json").stdout) == status

    # A shell gets the addresses, quoted.
    environment = shlex.join(stack.command("env"))
    script = f'eval "$({environment})"; echo "$TALLY_HOME|$TALLY_KAFKA_BOOTSTRAP"'
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"{stack.home}|{status['kafka']['bootstrap']}"
    assert "keeps NOTHING" in stack.run("logs", "kafka", "-n", "5").stdout

    assert stack.run("down").returncode == 0
    assert stack.processes() == []
    assert not (stack.home / "settings.json").exists()
    gone = stack.run("status")
    assert gone.returncode == 1
    assert "Nothing runs" in gone.stdout
    assert stack.run("down").returncode == 0
    assert stack.run("env").returncode == 1

    # The next start in the same home keeps its address.
    assert stack.up("clickhouse").returncode == 0
    assert stack.status().settings.clickhouse_url == status["clickhouse"]["url"]


def test_a_crash_is_told_and_mended_and_a_new_broker_is_made_known(stack: StackUnderTest) -> None:
    assert stack.up("clickhouse", "kafka", "migrate", "ingest").returncode == 0
    before = stack.status()
    os.kill(stack.pid("clickhouse"), signal.SIGKILL)
    wait_until(lambda: ("clickhouse", "crashed") in stack.events(), "the crash is told")
    wait_until(lambda: stack.status().ready, "the warehouse is back")
    after = stack.status()
    assert after.settings.clickhouse_url == before.settings.clickhouse_url
    assert after.services["clickhouse"].restarts == 1

    os.kill(stack.pid("kafka"), signal.SIGKILL)
    wait_until(lambda: ("ingest", "restarted") in stack.events(), "ingest is restarted")
    wait_until(lambda: stack.status().ready, "the stack is ready again")
    moved = stack.status()
    assert moved.settings.kafka_bootstrap != before.settings.kafka_bootstrap
    assert moved.services["ingest"].pid != before.services["ingest"].pid
    assert moved.services["kafka"].restarts == 1
    assert "is now at" in stack.run("status").stdout
    assert f"from {moved.settings.kafka_bootstrap}" in stack.run("logs", "ingest").stdout


def test_a_killed_supervisor_leaves_no_orphan_and_the_next_start_works(
    stack: StackUnderTest,
) -> None:
    assert stack.up("clickhouse", "kafka").returncode == 0
    stack.kill_supervisor()
    wait_until(lambda: not stack.processes(), "every process is gone")
    assert not (stack.home / "settings.json").exists()
    assert stack.status().ready is False
    assert stack.up("clickhouse", "kafka").returncode == 0
    assert stack.status().ready is True


def test_two_stacks_live_side_by_side(tmp_path: Path) -> None:
    stacks = [StackUnderTest(tmp_path / name) for name in ("one", "other")]
    with ExitStack() as after, ThreadPoolExecutor() as pool:
        for each in stacks:
            after.callback(each.run, "down")
        started = list(pool.map(lambda each: each.up("clickhouse", "kafka"), stacks))
        assert [each.returncode for each in started] == [0, 0]
        one, other = (each.status() for each in stacks)
        assert one.ready is other.ready is True
        assert one.settings.clickhouse_url != other.settings.clickhouse_url
        assert one.settings.kafka_bootstrap != other.settings.kafka_bootstrap
        stacks[0].run("down")
        assert stacks[1].status().ready is True


def test_in_the_foreground_it_reports_crashes_and_stops_at_ctrl_c(stack: StackUnderTest) -> None:
    process = subprocess.Popen(
        stack.command("up", "--without", without("kafka")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "until Ctrl-C" in line:
                break
        os.kill(stack.pid("kafka"), signal.SIGKILL)
        for line in process.stdout:
            # Killed within a second of its start, which a fast machine manages, it says so.
            if "kafka ended " in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0
        assert "Stopped." in rest
    finally:
        process.kill()
        process.stdout.close()
    assert stack.processes() == []


def test_a_service_that_ends_at_its_start_shows_its_last_words(stack: StackUnderTest) -> None:
    stack.home.mkdir()
    (stack.home / "clickhouse").write_text("a file where the warehouse keeps its folder")
    failed = stack.up("clickhouse", "kafka")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: clickhouse ended at its start.")
    assert str(stack.home / "clickhouse") in failed.stderr
    assert stack.processes() == []


def test_a_setting_that_makes_no_sense_is_named(stack: StackUnderTest) -> None:
    refused = stack.up("kafka", TALLY_TOPIC_PARTITIONS="0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: TALLY_TOPIC_PARTITIONS")


def test_an_outside_service_is_used_and_not_started(stack: StackUnderTest) -> None:
    started = stack.up("clickhouse", "kafka", TALLY_KAFKA_BOOTSTRAP="broker.example:9092")
    assert started.returncode == 0
    assert set(stack.status().services) == {"clickhouse"}


def test_a_port_that_is_taken_is_named(stack: StackUnderTest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        refused = stack.run("up", "--detach", "--clickhouse-port", port)
    assert refused.returncode == 1
    assert f"Port {port}, asked for clickhouse, is in use" in refused.stderr


def test_an_unknown_service_is_named(stack: StackUnderTest) -> None:
    refused = stack.run("up", "--without", "kafak")
    assert refused.returncode == 1
    assert "There is no service kafak" in refused.stderr


def test_a_path_too_long_for_a_unix_socket_is_no_hindrance(tmp_path: Path) -> None:
    stack = StackUnderTest(tmp_path / ("long" * 30))
    try:
        assert stack.up("kafka").returncode == 0
        assert stack.status().ready is True
    finally:
        stack.run("down")
    assert stack.processes() == []
