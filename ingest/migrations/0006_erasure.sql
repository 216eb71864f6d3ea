-- Who was erased. Ingestion refuses what still comes of them, the API answers 404; `tally erase`
-- writes a user here before it deletes anything. Nobody is ever taken out.
create table raw.erased_users (
    user_id UInt64,
    erased_at DateTime64(3, 'UTC') default now64(3, 'UTC')
) engine = ReplacingMergeTree
order by user_id;

-- Which offsets held accepted messages of theirs, and not whose: without it a deleted message could
-- not be told from a lost one, and the account of offsets would have holes.
create table raw.erased_offsets (
    stream LowCardinality(String),
    offset UInt64
) engine = ReplacingMergeTree
order by (stream, offset);
