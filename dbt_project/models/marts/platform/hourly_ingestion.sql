{{ config(materialized='view') }}

with
counts as (
    select
        {{ utc_hour('stored_at') }} as hour,
        countIf(kind = 'stored') as batches,
        uniqExact(stream) as streams,
        sumIf(stg_batches.accepted, kind = 'stored') as accepted,
        sumIf(dead, kind = 'stored') as dead_letters,
        sumIf(offsets, kind = 'lost') as lost,
        {{ exact_quantile(0.5, 'lag_seconds') }} as median_lag_seconds,
        {{ exact_quantile(0.95, 'lag_seconds') }} as p95_lag_seconds,
        maxOrNull(lag_seconds) as max_lag_seconds
    from {{ ref('stg_batches') }} as stg_batches
    group by hour
)

select
    hour,
    batches,
    streams,
    accepted,
    dead_letters,
    lost,
    median_lag_seconds,
    p95_lag_seconds,
    max_lag_seconds,
    {{ ratio('dead_letters', '(accepted + dead_letters)') }} as dead_letter_ratio,
    {{ ratio('lost', '(accepted + dead_letters + lost)') }} as loss_ratio
from counts
