-- Raw: what ingestion writes. One insert of a batch goes to `landing`, which keeps nothing; the views
-- below it write every table. Deduplication windows make a retry with the same token a no-op in all.

create database if not exists raw;

create table raw.landing (
    cluster_id LowCardinality(String),
    topic LowCardinality(String),
    partition UInt16,
    offset UInt64,
    stream LowCardinality(String),
    appended_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    key String,
    value String,
    reason LowCardinality(String),
    error String,
    event_id UUID,
    user_id UInt64,
    action_type LowCardinality(String),
    initiator LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    client_ts Nullable(DateTime64(3, 'UTC')),
    session_id String,
    source LowCardinality(String),
    schema_version UInt8,
    context String,
    round_id String,
    round_state LowCardinality(String),
    game_type LowCardinality(String),
    bet Int64,
    payout Int64,
    units UInt32,
    is_demo Bool
) engine = Null;

-- One row per accepted message, and after a merge (or with FINAL) one per event.
create table raw.events (
    event_id UUID,
    user_id UInt64,
    action_type LowCardinality(String),
    initiator LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    client_ts Nullable(DateTime64(3, 'UTC')),
    session_id String,
    source LowCardinality(String),
    schema_version UInt8,
    context String,
    round_id String,
    round_state LowCardinality(String),
    game_type LowCardinality(String),
    bet Int64,
    payout Int64,
    units UInt32,
    is_demo Bool,
    stream LowCardinality(String),
    offset UInt64,
    appended_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC')
) engine = ReplacingMergeTree
partition by toYYYYMM(occurred_at, 'UTC')
order by (user_id, occurred_at, event_id)
settings non_replicated_deduplication_window = 10000;

create materialized view raw.landing_to_events to raw.events as
select
    event_id, user_id, action_type, initiator, occurred_at, client_ts, session_id, source,
    schema_version, context, round_id, round_state, game_type, bet, payout, units, is_demo,
    stream, offset, appended_at, received_at
from raw.landing
where reason = '';

-- The events of rounds, ordered so that one round's whole history is one short read.
create table raw.round_events (
    user_id UInt64,
    round_id String,
    occurred_at DateTime64(3, 'UTC'),
    event_id UUID,
    round_state LowCardinality(String),
    game_type LowCardinality(String),
    bet Int64,
    payout Int64,
    units UInt32,
    is_demo Bool
) engine = ReplacingMergeTree
order by (user_id, round_id, occurred_at, event_id)
settings non_replicated_deduplication_window = 10000, index_granularity = 1024;

create materialized view raw.landing_to_round_events to raw.round_events as
select
    user_id, round_id, occurred_at, event_id, round_state, game_type, bet, payout, units, is_demo
from raw.landing
where reason = '' and round_id != '';

-- One row per stored message, in the order of arrival: what a materialization still has to look at.
create table raw.arrivals (
    stream LowCardinality(String),
    offset UInt64,
    user_id UInt64,
    occurred_date Date,
    round_id String,
    projection by_user (select stream, offset, user_id, occurred_date, round_id order by user_id)
) engine = MergeTree
order by (stream, offset)
settings non_replicated_deduplication_window = 10000;

create materialized view raw.landing_to_arrivals to raw.arrivals as
select
    stream, offset, user_id, toDate(occurred_at, 'UTC') as occurred_date, round_id
from raw.landing
where reason = '';

-- One row per message that could not be accepted, with its bytes as they came.
create table raw.dead_letters (
    cluster_id LowCardinality(String),
    topic LowCardinality(String),
    partition UInt16,
    offset UInt64,
    stream LowCardinality(String),
    appended_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    key String,
    value String,
    reason LowCardinality(String),
    error String
) engine = ReplacingMergeTree
order by (stream, offset)
settings non_replicated_deduplication_window = 10000;

create materialized view raw.landing_to_dead_letters to raw.dead_letters as
select
    cluster_id, topic, partition, offset, stream, appended_at, received_at, key, value, reason, error
from raw.landing
where reason != '';

-- One row per contiguous range of offsets. A `stored` row is written after the range's insert is
-- acknowledged: it says that everything in the range is readable. `gap` is a range of offsets that
-- hold no message (transaction markers, compaction), `lost` one whose messages were gone before they
-- were read. `replaced` marks the offset from which a stream cannot be read any more because its
-- broker or topic is another one now. `end_offset` is the end of the log as last seen.
create table raw.ingest_ledger (
    stream LowCardinality(String),
    first_offset UInt64,
    last_offset UInt64,
    kind Enum8('stored' = 1, 'lost' = 2, 'gap' = 3, 'replaced' = 4),
    cluster_id LowCardinality(String),
    topic LowCardinality(String),
    partition UInt16,
    accepted UInt64,
    dead UInt64,
    end_offset UInt64,
    newest_appended_at Nullable(DateTime64(3, 'UTC')),
    stored_at DateTime64(3, 'UTC') default now64(3, 'UTC')
) engine = ReplacingMergeTree
order by (stream, first_offset, last_offset, kind)
settings non_replicated_deduplication_window = 10000;
