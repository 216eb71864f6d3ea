-- Event ids that were delivered more than once, and how many events each has become. One row per id.
with
replayed as (
    select
        event_id,
        uniqExact(stream, offset) as deliveries
    from {{ source('raw', 'event_ids') }}
    group by event_id
    having deliveries > 1
),

stored as (
    select
        UUIDStringToNum(toString(event_id)) as event_key, -- noqa: CP03
        count() as events
    from {{ ref('stg_events') }}
    where event_key in (select event_id from replayed)
    group by event_key
)

select
    replayed.event_id as event_key,
    replayed.deliveries as deliveries,
    coalesce(stored.events, 0) as events
from replayed
left join stored on replayed.event_id = stored.event_key
