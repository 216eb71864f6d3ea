"""Observing Kafka: how far the topic reaches, and how far ingestion is behind it.

An observation is an event without a run, so it costs one question to the broker a minute.
"""

from contextlib import closing

import dagster as dg
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.progress import Broker, read_backlog
from orchestration.defs.boundaries import ACTIONS_TOPIC
from tally.errors import TallyError
from tally.settings import load_settings
from tally.warehouse import connect

INTERVAL_SECONDS = 60


@dg.sensor(minimum_interval_seconds=INTERVAL_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def observe_the_stream(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """The end offsets of the topic and the messages that are not readable yet, where they moved."""
    settings = load_settings()
    if settings.kafka_bootstrap is None:
        return dg.SkipReason("No broker is known: TALLY_KAFKA_BOOTSTRAP is not set.")
    try:
        with closing(connect(settings)) as client, closing(Broker(settings)) as broker:
            backlog = read_backlog(client, broker)
    except (TallyError, ClickHouseError, OSError) as error:
        return dg.SkipReason(f"Cannot look: {error}")
    ends = {str(each.partition): each.end_offset for each in backlog}
    lag = sum(each.messages for each in backlog)
    seen = f"{sum(ends.values())}/{lag}"
    if seen == context.cursor:
        return dg.SkipReason("Nothing has moved.")
    observation = dg.AssetObservation(
        ACTIONS_TOPIC,
        metadata={
            "end_offsets": dg.MetadataValue.json(ends),
            "messages": sum(ends.values()),
            "lag": lag,
        },
    )
    return dg.SensorResult(asset_events=[observation], cursor=seen)
