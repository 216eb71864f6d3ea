{{ config(materialized='view', schema='marts', enabled=(target.type == 'clickhouse')) }}

with
dates as (
    select {{ start_of_day('date') }} as midnight
    from {{ ref('dates') }}
),

hours_of_day as (
    {{ integers(0, 23) }}
)

select {{ utc_hour('midnight + interval n hour') }} as hour
from dates
cross join hours_of_day
