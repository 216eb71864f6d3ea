-- Which dead letters were sent again, and which letters are such messages refused once more: they
-- carry the letter that they come from, `stream:offset`.
alter table raw.landing add column if not exists replay_of String default '' after error;

alter table raw.dead_letters add column if not exists replay_of String default '' after error;

alter table raw.landing_to_dead_letters modify query
select
    cluster_id, topic, partition, offset, stream, appended_at, received_at, key, value, reason,
    error, replay_of
from raw.landing
where reason != '';

create table raw.dead_letter_replays (
    stream LowCardinality(String),
    offset UInt64,
    replayed_at DateTime64(3, 'UTC') default now64(3, 'UTC')
) engine = ReplacingMergeTree
order by (stream, offset);
