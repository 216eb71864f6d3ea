{{ config(materialized='view') }}

with
events as (
    select * from {{ ref('int_purchase_events') }}
)

select
    user_id,
    purchase_id,
    {{ latest('events.state') }} as state,
    {{ latest('events.item_id') }} as item_id,
    {{ latest('events.amount') }} as amount,
    {{ latest('events.is_limited') }} as is_limited,
    {{ latest('events.reason') }} as reason,
    min(occurred_at) as opened_at,
    max(occurred_at) as changed_at,
    {{ utc_date('opened_at') }} as date,
    countIf(events.state = 'success') as successes,
    uniqExactIf(receipt_hash, receipt_hash != '') as receipts
from events
group by user_id, purchase_id
