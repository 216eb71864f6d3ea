{{
    config(
        materialized='table',
        engine='MergeTree()',
        order_by='(user_id, started_at)',
        tags=['deep'],
    )
}}

with
actions as (
    select
        user_id,
        occurred_at,
        event_id,
        round_id
    from {{ ref('stg_events') }}
    where initiator = 'user'
),

-- The first action of a user is more than any gap after nothing.
steps as (
    select
        *,
        lag(occurred_at, 1, toDateTime64(0, 3, 'UTC')) over (
            partition by user_id order by occurred_at, event_id
        ) < occurred_at - interval {{ sessions_gap_minutes() }} minute as begins
    from actions
),

numbered as (
    select
        *,
        sum(begins) over (partition by user_id order by occurred_at, event_id) as session_number
    from steps
)

select
    user_id,
    toUInt32(session_number) as session_number,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    {{ utc_date('started_at') }} as date,
    dateDiff('second', started_at, ended_at) as duration_seconds,
    count() as actions,
    uniqExactIf(round_id, round_id != '') as rounds
from numbered
group by user_id, session_number
