{{ config(materialized='view') }}

with
hours as (
    select
        {{ utc_hour('occurred_at') }} as hour,
        count() as events,
        uniqExactIf(user_id, initiator = 'user') as active_users,
        0 as rounds,
        0 as bet_amount,
        0 as payout_amount
    from {{ ref('stg_events') }}
    group by hour
    union all
    select
        {{ utc_hour('assumeNotNull(settled_at)') }} as hour,
        0 as events,
        0 as active_users,
        count() as rounds,
        assumeNotNull(sum(bet_amount)) as bet_amount,
        assumeNotNull(sum(payout_amount)) as payout_amount
    from {{ ref('game_rounds') }} {{ latest_versions() }}
    where is_played
    group by hour
),

totals as (
    select
        hour,
        sum(events) as events,
        sum(active_users) as active_users,
        sum(rounds) as rounds,
        sum(bet_amount) as bet_amount,
        sum(payout_amount) as payout_amount
    from hours
    group by hour
)

select
    *,
    {{ returns() }}
from totals
