"""The embedded Kafka broker: librdkafka's mock cluster, alone in a process of its own.

The wire protocol, the consumer groups and the commits are real; the storage is memory. Python's
binding can neither choose the number of partitions nor create topics on this broker, so the calls
go to the C library that the `confluent_kafka` wheel ships.
"""

import argparse
import ctypes
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from tally.errors import TallyError
from tally.settings import Settings, load_settings

logger = logging.getLogger(__name__)

# Constants of librdkafka's mock broker (rdkafka_mock.c), which has no call to change them.
RETAINED_BYTES = 5 * 2**20
RETAINED_BATCHES = 100_000

_PRODUCER = 0
_NO_ERROR = 0
_LOG_WARNINGS = b"4"


def _load_library() -> ctypes.CDLL:
    """The librdkafka inside the installed `confluent_kafka` wheel, with typed signatures."""
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    found = sorted(folder.glob("librdkafka-*.so*"))
    if not found:
        raise TallyError(
            f"No librdkafka shared library in {folder}.",
            hint="The embedded broker needs the binary wheel of confluent-kafka (Linux); "
            "elsewhere set TALLY_KAFKA_BOOTSTRAP to a real broker.",
        )
    library = ctypes.CDLL(str(found[0]))
    pointer, string, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", integer, [pointer, string, string, string, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [integer, pointer, string, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_err2str", string, [integer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, integer]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", string, [pointer]),
        ("rd_kafka_mock_topic_create", integer, [pointer, string, integer, integer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class EmbeddedBroker:
    """One broker on a free loopback port; it lives from construction to `close()`."""

    def __init__(self, topics: Sequence[str], partitions: int) -> None:
        """Start the broker with `topics` of `partitions` each.

        Raises `TallyError` where librdkafka is missing or refuses.
        """
        self._library = _load_library()
        reason = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        # Without it, each start warns that this client, which connects to nothing, knows no broker.
        self._library.rd_kafka_conf_set(
            configuration, b"log_level", _LOG_WARNINGS, reason, len(reason)
        )
        self._client = self._library.rd_kafka_new(_PRODUCER, configuration, reason, len(reason))
        if not self._client:
            raise TallyError(f"librdkafka did not start: {reason.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise TallyError("librdkafka did not start its broker (is a loopback port free?).")
        # The default of 3 s would be the largest part of every consumer's start.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for topic in topics:
            error = self._library.rd_kafka_mock_topic_create(
                self._cluster, topic.encode(), partitions, 1
            )
            if error != _NO_ERROR:
                text = self._library.rd_kafka_err2str(error).decode()
                raise TallyError(f"The broker refused topic {topic!r}: {text}.")

    @property
    def bootstrap(self) -> str:
        """`host:port`."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def close(self) -> None:
        """Stop the broker and forget everything it holds."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


def _topics(settings: Settings) -> list[str]:
    return [settings.actions_topic, settings.dead_letter_topic, settings.updates_topic]


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `host:port` goes into `--port-file` when it answers."""
    settings = load_settings()
    parser = argparse.ArgumentParser(prog="python -m tally.local.kafka", description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--partitions", type=int, default=settings.topic_partitions)
    arguments = parser.parse_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    broker = EmbeddedBroker(_topics(settings), arguments.partitions)
    logger.info("Kafka broker on %s, %d partitions a topic", broker.bootstrap, arguments.partitions)
    logger.warning(
        "This broker keeps NOTHING on disk: messages and commits are gone when it stops, and a "
        "partition forgets its oldest messages beyond %d MiB or %d producer batches.",
        RETAINED_BYTES // 2**20,
        RETAINED_BATCHES,
    )
    port_file: Path = arguments.port_file
    partial = port_file.with_name(port_file.name + ".partial")
    partial.write_text(broker.bootstrap)
    partial.replace(port_file)
    signal.sigwait(stops)
    broker.close()


if __name__ == "__main__":
    main()
