-- A materialization looks up what else happened to the rounds that it meets: it tests millions of rows
-- against thousands of rounds. Four bytes to compare cost a fifth of what a pair of a number and a text costs.
alter table raw.round_events
    add column if not exists round_key UInt32 materialized toUInt32(cityHash64(round_id)) codec(NONE);

alter table raw.round_events materialize column round_key settings mutations_sync = 1;
