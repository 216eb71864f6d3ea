with
events as (
    select * from {{ ref('stg_events') }}
)

select
    event_id,
    user_id,
    occurred_at,
    occurred_date,
    {{ context_text('purchase_id') }} as purchase_id,
    {{ context_text('state') }} as state,
    {{ context_text('item_id') }} as item_id,
    {{ context_integer('amount') }} as amount,
    {{ context_flag('limited') }} as is_limited,
    {{ context_text('receipt_hash') }} as receipt_hash,
    {{ context_text('reason') }} as reason
from events
where action_type = 'SHOP_BUY'
