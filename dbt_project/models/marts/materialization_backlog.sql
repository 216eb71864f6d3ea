{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}
{#- What the API reads, and everything that follows the stream. -#}
{%- set served = ['user_days', 'user_game_days'] %}
{%- set following = served + ['game_rounds'] %}

with
offsets as (
    select
        stream,
        toInt64(max(last_offset)) as stored_offset,
        toInt64(-1) as materialized_offset,
        toInt64(-1) as followed_offset
    from {{ source('raw', 'ingest_ledger') }}
    group by stream
    union all
    select
        stream,
        toInt64(-1) as stored_offset,
        to_offset as materialized_offset,
        toInt64(-1) as followed_offset
    from ({{ least_watermark(served, published_watermarks()) }})
    union all
    select
        stream,
        toInt64(-1) as stored_offset,
        toInt64(-1) as materialized_offset,
        to_offset as followed_offset
    from ({{ least_watermark(following, published_watermarks()) }})
),

streams as (
    select
        stream,
        max(offsets.stored_offset) as stored_offset,
        max(offsets.materialized_offset) as materialized_offset,
        max(offsets.followed_offset) as followed_offset
    from offsets
    group by stream
)

select
    stream,
    stored_offset,
    materialized_offset,
    greatest(stored_offset - followed_offset, 0) as messages_behind
from streams
