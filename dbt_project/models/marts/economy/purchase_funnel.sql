{{ config(materialized='view') }}

with
counts as (
    select
        date,
        item_id,
        count() as opened,
        countIf(state = 'success') as succeeded,
        countIf(state = 'failed') as failed,
        countIf(state = 'pending') as pending,
        uniqExactIf(user_id, state = 'success') as buyers,
        sumIf(purchases.amount, state = 'success') as amount
    from {{ ref('purchases') }} as purchases
    group by date, item_id
)

select
    *,
    {{ purchase_success_rate('succeeded', '(succeeded + failed)') }} as success_rate
from counts
