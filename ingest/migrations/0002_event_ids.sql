-- Which message was the first to use an event id, and with which payload. A batch claims its ids here
-- before it is landed, then asks for the first claim of each: a message whose payload is not that of
-- the first claim is a `conflict`. `_block_number` is the order: a part gets its number in the moment
-- it becomes visible, so whoever asks after claiming sees every claim that can ever come before its
-- own, and the answer is the same for ever, for every consumer and every replay. That needs one
-- partition (numbers are counted by partition) and no merge that drops rows.
-- `event_id` is in the order of its text, so that ids of one time (UUIDv7) lie together.
create table raw.event_ids (
    event_id FixedString(16) codec(NONE),
    payload FixedString(16) codec(NONE),
    stream LowCardinality(String),
    offset UInt64
) engine = MergeTree
order by event_id
settings
    non_replicated_deduplication_window = 10000,
    enable_block_number_column = 1,
    -- A batch asks for thousands of single ids: what is read around each is kept small.
    index_granularity = 256,
    min_compress_block_size = 4096,
    max_compress_block_size = 16384;

-- What was stored before this table was there; `ingest/claims.py` makes the same hash.
insert into raw.event_ids (event_id, payload, stream, offset)
select
    UUIDStringToNum(toString(event_id)),
    MD5(arrayStringConcat([
        toString(user_id), toString(action_type), toString(toUnixTimestamp64Milli(occurred_at)),
        ifNull(toString(toUnixTimestamp64Milli(client_ts)), ''), session_id, toString(source),
        toString(schema_version), context
    ], '\0')),
    stream,
    offset
from raw.events
order by received_at, stream, offset
settings max_insert_threads = 1;
