{{ config(materialized='view') }}

with
letters as (
    select * from {{ ref('stg_dead_letters') }}
)

select
    {{ utc_hour('received_at') }} as hour,
    reason,
    count() as letters,
    countIf(is_replayed) as replayed,
    countIf(is_refused_again) as refused_again,
    sum(letters.bytes) as bytes,
    max(received_at) as newest_received_at
from letters
group by hour, reason
