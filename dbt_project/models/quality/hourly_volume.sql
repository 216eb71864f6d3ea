-- The last complete hour of arrivals beside the mean of the hours of the week before it. One row.
with
hours as (
    select
        toStartOfHour(received_at, 'UTC') as received_hour,
        count() as stored
    from {{ source('raw', 'events') }}
    where received_at >= toStartOfHour({{ utc_now() }}, 'UTC') - interval 169 hour
    group by received_hour
),

sums as (
    select
        sumIf(stored, received_hour = toStartOfHour({{ utc_now() }}, 'UTC') - interval 1 hour) as messages,
        sumIf(stored, received_hour < toStartOfHour({{ utc_now() }}, 'UTC') - interval 1 hour)
        / nullIf(countIf(received_hour < toStartOfHour({{ utc_now() }}, 'UTC') - interval 1 hour), 0) as baseline
    from hours
)

select
    messages,
    baseline,
    if(baseline >= 1000, messages / baseline, null) as share_of_baseline
from sums
