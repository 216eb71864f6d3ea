select *
from {{ ref('purchase_funnel') }}
where opened != succeeded + failed + pending or buyers > succeeded
