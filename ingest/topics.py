"""The topics that Tally reads and writes, made where the broker lacks them.

A topic that a broker makes by itself at the first message has its default number of partitions,
which cannot change later without moving users to other partitions.
"""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tally.errors import TallyError
from tally.settings import Settings

LIMIT_S = 15.0
BROKER_DEFAULT = -1  # the replication factor that the broker is configured with


def create_missing(settings: Settings) -> list[str]:
    """Create the topics that are missing, with `topic_partitions` each; their names.

    Topics that are there stay as they are. Raises `TallyError` where the broker does not answer or
    does not let us.
    """
    address = settings.endpoint("kafka_bootstrap")
    admin = AdminClient({"bootstrap.servers": address, "log_level": 2})
    wanted = (settings.actions_topic, settings.dead_letter_topic, settings.updates_topic)
    try:
        # Asked for everything: to ask for one topic by its name may create it.
        there = admin.list_topics(timeout=LIMIT_S).topics
    except KafkaException as error:
        raise TallyError(f"Kafka at {address} does not answer: {error.args[0].str()}") from error
    missing = [name for name in wanted if name not in there]
    if not missing:
        return []
    futures = admin.create_topics(
        [NewTopic(name, settings.topic_partitions, BROKER_DEFAULT) for name in missing],
        operation_timeout=LIMIT_S,
        request_timeout=LIMIT_S,
    )
    created = []
    for name, future in futures.items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TallyError(
                    f"Kafka at {address} does not create topic {name}: {error.args[0].str()}",
                    hint="Create it yourself with as many partitions as you want, or let this user "
                    "create topics.",
                ) from error
    return created
