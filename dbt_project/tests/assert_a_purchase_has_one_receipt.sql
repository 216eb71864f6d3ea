select *
from {{ ref('purchases') }}
where receipts > 1
