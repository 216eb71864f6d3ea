"""`tally dlq`: what there is, one of them whole, and sending again: twice changes nothing."""

from tests.integration.ingest.pipeline import Pipeline, encode, slot_round


def letters(pipeline: Pipeline) -> list[tuple[str, str]]:
    rows = pipeline.query(
        "select concat(stream, ':', toString(offset)), replay_of from raw.dead_letters final "
        "where {here} order by stream, offset"
    )
    return [(str(letter), str(origin)) for letter, origin in rows]


def test_listed_shown_and_sent_again_once(kafka_pipeline: Pipeline) -> None:
    """A letter that is no longer wrong becomes the event that it always was."""
    pipeline = kafka_pipeline
    event = slot_round(user_id=5)
    pipeline.start()
    pipeline.produce([encode(event), b"\xff{", encode(slot_round(user_id=0)), None], partition=1)
    pipeline.wait()
    listed = pipeline.command("dlq", "list").stdout
    assert "1 not_utf8, 0 of them sent again" in listed
    assert "1 schema, 0 of them" in listed
    (first, _), (second, _), _ = letters(pipeline)
    shown = pipeline.command("dlq", "show", first).stdout
    assert "not_utf8" in shown
    assert "\\xff{" in shown

    # As if its rule had been mended since: the stored bytes of the letter are a good event.
    mended = encode(slot_round(user_id=9))
    pipeline.query(
        f"insert into raw.dead_letters select * replace (unhex('{mended.hex()}') as value) "
        "from raw.dead_letters where {here} and reason = 'schema'"
    )
    for expected in ("sent 1 letters again", "sent 0 letters again"):
        done = pipeline.command("dlq", "replay", "--reason", "schema")
        assert expected in done.stdout, done.stderr
        pipeline.wait()
        assert pipeline.count() == 2
    done = pipeline.command("dlq", "replay", second)
    assert "sent 0 letters again" in done.stdout
    done = pipeline.command("dlq", "replay", second, "--again")
    assert "sent 1 letters again" in done.stdout
    pipeline.wait()
    assert pipeline.count() == 2
    account = pipeline.verify()
    assert (account["events"], account["duplicates"], account["dead_letters"]) == (2, 1, 3)
    assert "1 schema, 1 of them sent again" in pipeline.command("dlq", "list").stdout


def test_a_letter_that_is_refused_again_says_where_it_comes_from_and_is_not_sent_in_circles(
    kafka_pipeline: Pipeline,
) -> None:
    pipeline = kafka_pipeline
    pipeline.start()
    pipeline.produce([b"{"], partition=0)
    pipeline.wait()
    for _ in range(3):
        assert pipeline.command("dlq", "replay", "--reason", "not_json").returncode == 0
        pipeline.wait()
    (origin,) = [letter for letter, of in letters(pipeline) if not of]
    ((again, of),) = [(letter, of) for letter, of in letters(pipeline) if of]
    assert of == origin
    assert f"replay of:  {origin}" in pipeline.command("dlq", "show", again).stdout


def test_what_cannot_be_sent_says_why(pipeline: Pipeline) -> None:
    for arguments, text in (
        (("show", "nonsense"), "is not a dead letter"),
        (("show", "cluster/topic/0:7"), "There is no dead letter"),
        (("replay",), "Name either letters or a --reason"),
        (("replay", "--reason", "conflict"), "A conflict stays one"),
    ):
        done = pipeline.command("dlq", *arguments)
        assert done.returncode != 0
        assert text in done.stderr
