"""`tally replay` against a real broker."""

from pathlib import Path

import pytest

from tests.integration.ingest.pipeline import Pipeline, encode, slot_round


def jsonl(folder: Path, count: int, note: str = "") -> Path:
    path = folder / "rounds.jsonl"
    lines = [
        encode(slot_round(user_id=n % 20 + 1, session_id=f"{n:08d}", note=note))
        for n in range(count)
    ]
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize("order", [[], ["--reverse"], ["--shuffle", "7", "--duplicate", "0.3"]])
def test_any_order_stores_the_same(pipeline: Pipeline, tmp_path: Path, order: list[str]) -> None:
    pipeline.start()
    done = pipeline.command("replay", str(jsonl(tmp_path, 2_000)), "--format", "jsonl", *order)
    assert done.returncode == 0, done.stderr
    pipeline.wait()
    assert pipeline.count() == 2_000
    assert pipeline.stop() == 0


def test_a_users_messages_stay_in_order_on_one_partition(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.start()
    pipeline.command("replay", str(jsonl(tmp_path, 1_000)), "--format", "jsonl")
    pipeline.wait()
    rows = pipeline.query(
        "select user_id, uniqExact(stream), "
        "arraySort(groupArray((offset, session_id))).2 as sent, arraySort(sent) = sent "
        "from raw.events where {here} group by user_id"
    )
    assert len(rows) == 20
    assert all(streams == 1 and in_order for _, streams, _, in_order in rows)


def test_the_broker_is_never_overrun(pipeline: Pipeline, tmp_path: Path) -> None:
    """20 MiB through a broker that keeps 5 MiB a partition, with one partition for one user."""
    path = tmp_path / "one-user.jsonl"
    path.write_bytes(b"\n".join(encode(slot_round(note="x" * 4_000)) for _ in range(5_000)))
    pipeline.changes["kafka_max_unread_bytes"] = 3 * 2**20
    pipeline.start()
    assert pipeline.command("replay", str(path), "--format", "jsonl").returncode == 0
    pipeline.wait()
    assert pipeline.count() == 5_000
    assert "LOST" not in pipeline.log


def test_a_rate_is_kept(pipeline: Pipeline, tmp_path: Path) -> None:
    done = pipeline.command(
        "replay", str(jsonl(tmp_path, 600)), "--format", "jsonl", "--rate", "300"
    )
    seconds = float(done.stdout.split(" in ")[1].split()[0])
    assert 1.5 <= seconds <= 6


def test_an_empty_file_is_no_error(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    done = pipeline.command("replay", str(tmp_path / "empty.jsonl"), "--format", "jsonl")
    assert (done.returncode, done.stdout.startswith("sent 0 messages")) == (0, True)


def test_a_broker_that_is_not_there_is_said(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.changes["kafka_max_unread_bytes"] = 2**20
    pipeline.broker_url = "127.0.0.1:9"
    done = pipeline.command("replay", str(jsonl(tmp_path, 1)), "--format", "jsonl")
    assert done.returncode == 1
    assert "127.0.0.1:9 does not answer" in done.stderr
