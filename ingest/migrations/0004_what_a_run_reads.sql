-- So that a materialization reads what it touches and little around it, however long the history is.

-- The events of one day together. By (user, time) a granule is a hundred players of one month: a run
-- that touched thousands of players' last day read every month whole.
alter table raw.events
    modify setting
        deduplicate_merge_projection_mode = 'rebuild',
        lightweight_mutation_projection_mode = 'rebuild';

alter table raw.events add projection if not exists by_day (
    select user_id, occurred_at, event_id, action_type, initiator, round_id, game_type
    order by toDate(occurred_at, 'UTC'), user_id
) with settings (index_granularity = 1024);

alter table raw.events materialize projection by_day settings mutations_sync = 1;

-- A round's history is looked up by its key: what is read around each is kept small (a granule of
-- 1,024 rows held six players' lives). `config_version` is here so that the lookup is enough.
alter table raw.round_events
    add column if not exists config_version LowCardinality(String) default '';

alter table raw.landing_to_round_events modify query
select
    user_id, round_id, occurred_at, event_id, round_state, game_type, bet, payout, units, is_demo,
    JSONExtractString(context, 'config_version') as config_version
from raw.landing
where reason = '' and round_id != '';

create table raw.round_events_by_128 (
    user_id UInt64,
    round_id String,
    occurred_at DateTime64(3, 'UTC'),
    event_id UUID,
    round_state LowCardinality(String),
    game_type LowCardinality(String),
    bet Int64,
    payout Int64,
    units UInt32,
    is_demo Bool,
    config_version LowCardinality(String)
) engine = ReplacingMergeTree
order by (user_id, round_id, occurred_at, event_id)
settings
    non_replicated_deduplication_window = 10000,
    index_granularity = 128,
    min_compress_block_size = 4096,
    max_compress_block_size = 16384;

insert into raw.round_events_by_128
select
    user_id, round_id, occurred_at, event_id, round_state, game_type, bet, payout, units, is_demo,
    JSONExtractString(context, 'config_version') as config_version
from raw.events
where round_id != '';

exchange tables raw.round_events and raw.round_events_by_128;

-- And what was stored meanwhile. What is copied twice is merged into one.
insert into raw.round_events
select
    user_id, round_id, occurred_at, event_id, round_state, game_type, bet, payout, units, is_demo,
    JSONExtractString(context, 'config_version') as config_version
from raw.events
where round_id != '';

drop table raw.round_events_by_128;
