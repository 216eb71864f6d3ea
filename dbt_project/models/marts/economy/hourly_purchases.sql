{{ config(materialized='view') }}

with
counts as (
    select
        {{ utc_hour('changed_at') }} as hour,
        countIf(state = 'success') as succeeded,
        countIf(state = 'failed') as failed,
        countIf(state = 'pending') as pending,
        uniqExactIf(user_id, state = 'success') as buyers,
        sumIf(purchases.amount, state = 'success') as amount
    from {{ ref('purchases') }} as purchases
    group by hour
)

select
    *,
    {{ purchase_success_rate('succeeded', '(succeeded + failed)') }} as success_rate
from counts
