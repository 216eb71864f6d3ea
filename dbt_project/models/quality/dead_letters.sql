-- The dead letters of the last day by reason, and their share of what arrived. One row per reason.
with
letters as (
    select
        toString(reason) as reason,
        count() as letters,
        countIf(error = '') as without_error
    from {{ source('raw', 'dead_letters') }} {{ latest_versions() }}
    where received_at > {{ utc_now() }} - interval 1 day
    group by reason
),

accepted as (
    select count() as events
    from {{ source('raw', 'events') }}
    where received_at > {{ utc_now() }} - interval 1 day
)

select
    letters.reason as reason,
    letters.letters as letters,
    letters.without_error as without_error,
    letters.letters / (sum(letters.letters) over () + accepted.events) as share
from letters
cross join accepted
