-- How many actions the backend's own record has of an hour, by when they happened, and how many of
-- those arrived, as the two were compared last (`tally verify-record`, hourly in Dagster). The record
-- is another database, so this is all of it that the models can see.
create table raw.recorded_hours (
    hour DateTime('UTC'),
    recorded UInt64,
    arrived UInt64,
    compared_at DateTime64(3, 'UTC') default now64(3, 'UTC')
) engine = ReplacingMergeTree(compared_at)
order by hour;
