select *
from {{ ref('gold_ledger') }}
where balance_after < 0
