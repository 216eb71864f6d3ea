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
    from {{ published_watermarks() }} final
    group by model
),

materialization as (
    select
        min(materialized_at) as materialized_at,
        count() as models
    from models
),

publication as (
    select argMax(watermark, published_at) as watermark
    from {{ publications() }}
),

-- A failed blocking check keeps what people read at the last publication.
holds as (
    select arraySort(groupArray(check_name)) as held_by
    from (
        select
            check_name,
            argMax(blocking and not passed, evaluated_at) as is_holding
        from {{ check_results() }}
        group by check_name
    )
    where is_holding
),

status as (
    select
        held_by,
        if(empty(held_by), 'fresh', 'held') as status
    from holds
)

select
    status.status as status,
    status.held_by as held_by,
    if(
        status.status = 'held',
        publication.watermark,
        if(newest_batch.batches = 0, null, newest_batch.watermark)
    ) as watermark,
    if(
        newest_batch.batches = 0 or status.status = 'held', null, newest_batch.lag_seconds
    ) as lag_seconds,
    if(materialization.models = 0, null, materialization.materialized_at) as materialized_at
from newest_batch
cross join materialization
cross join publication
cross join status
