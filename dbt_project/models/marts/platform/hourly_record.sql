{{ config(materialized='view') }}

with
hours as (
    select
        hour,
        recorded,
        arrived,
        recorded - arrived as lost,
        compared_at
    from {{ source('raw', 'recorded_hours') }} {{ latest_versions() }}
)

select
    *,
    {{ ingest_loss_ratio('lost', 'recorded') }} as loss_ratio
from hours
