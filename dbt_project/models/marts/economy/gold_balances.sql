{{ config(materialized='view') }}

with
ledger as (
    select * from {{ ref('gold_ledger') }}
)

select
    user_id,
    {{ latest('balance_after') }} as balance,
    min(balance_after) as lowest_balance,
    sumIf(amount, amount > 0) as granted,
    -sumIf(amount, amount < 0) as taken,
    count() as entries,
    max(occurred_at) as changed_at
from ledger
group by user_id
