{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
arrived as (
    select
        user_id,
        occurred_date,
        round_id
    from {{ source('raw', 'arrivals') }}
    where
        user_id in {{ parameter('user_ids', 'Array(UInt64)') }}
        and toInt64(offset)
        > transform(toString(stream), {{ parameter('streams', 'Array(String)') }}, {{ parameter('offsets', 'Array(Int64)') }}, toInt64(-1))
)

{{ touched_days('arrived') }}
