-- One row per receipt of a purchase: how many purchases succeeded on it.
with
purchases as (
    select
        user_id,
        {{ context_text('purchase_id') }} as purchase_id,
        {{ context_text('receipt_hash') }} as receipt_hash,
        {{ context_text('state') }} as state,
        {{ context_integer('amount') }} as amount
    from {{ ref('stg_events') }}
    where action_type = 'SHOP_BUY'
)

select
    receipt_hash,
    uniqExactIf((user_id, purchase_id), state = 'success') as successes,
    uniqExact(user_id) as buyers,
    min(amount) as least_amount
from purchases
where receipt_hash != ''
group by receipt_hash
