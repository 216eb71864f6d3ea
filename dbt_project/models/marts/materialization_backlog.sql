{{ config(materialized='view') }}

with
stored as (
    select
        stream,
        toInt64(max(last_offset)) as stored_offset,
        toInt64(-1) as materialized_offset
    from {{ source('raw', 'ingest_ledger') }}
    group by stream
),

materialized as (
    select
        stream,
        toInt64(-1) as stored_offset,
        to_offset as materialized_offset
    from ({{ least_watermark(['user_days', 'user_game_days']) }})
),

both as (
    select * from stored
    union all
    select * from materialized
),

offsets as (
    select
        stream,
        max(both.stored_offset) as stored_offset,
        max(both.materialized_offset) as materialized_offset
    from both
    group by stream
)

select
    stream,
    stored_offset,
    materialized_offset,
    greatest(stored_offset - materialized_offset, 0) as messages_behind
from offsets
