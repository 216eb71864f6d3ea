{{ config(materialized='view', enabled=(target.type == 'clickhouse')) }}

with
newest_batch as (
    select
        max(newest_appended_at) as watermark,
        dateDiff(
            'millisecond', argMax(newest_appended_at, stored_at), max(stored_at)
        ) / 1000 as lag_seconds,
        count() as batches
    from {{ source('raw', 'ingest_ledger') }}
    where kind = 'stored'
),

models as (
    select
        model,
        max(materialized_at) as materialized_at
    from {{ watermarks() }} final
    group by model
),

materialization as (
    select
        min(materialized_at) as materialized_at,
        count() as models
    from models
)

select
    if(newest_batch.batches = 0, null, newest_batch.watermark) as watermark,
    if(newest_batch.batches = 0, null, newest_batch.lag_seconds) as lag_seconds,
    if(materialization.models = 0, null, materialization.materialized_at) as materialized_at
from newest_batch
cross join materialization
