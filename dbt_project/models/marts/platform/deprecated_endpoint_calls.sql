{{ config(materialized='view') }}

with
calls as (
    select * from {{ ref('stg_events') }}
    where action_type = 'DEPRECATED_ENDPOINT_CALLED'
)

select
    occurred_date as date,
    {{ context_text('path') }} as path,
    {{ context_text('method') }} as method,
    {{ context_text('successor') }} as successor,
    count() as calls,
    uniqExact(user_id) as callers,
    max(occurred_at) as last_called_at
from calls
group by date, path, method, successor
