{{ config(materialized='view') }}

with
events as (
    select * from {{ ref('int_connection_events') }}
)

select
    {{ utc_hour('occurred_at') }} as hour,
    path,
    countIf(is_connect) as connects,
    countIf(not is_connect) as disconnects,
    countIf(not is_connect and close_code not in (1000, 1001)) as abnormal_closes,
    uniqExact(user_id) as users
from events
group by hour, path
