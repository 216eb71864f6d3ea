-- Each mart takes its own window, so users with arrivals that one of them has still to see are left out.
{{ config(meta={'dagster': {'ref': {'name': 'user_days'}}}) }}

with
behind as (
    {{ arrivals_past_watermarks(['user_days', 'user_game_days']) }}
),

days as (
    select
        user_id,
        date,
        played,
        bet_amount,
        payout_amount
    from {{ ref('user_days') }} {{ latest_versions() }}
    where user_id not in (select user_id from behind)
),

games as (
    select
        user_id,
        date,
        sum(played) as played,
        sum(bet_amount) as bet_amount,
        sum(payout_amount) as payout_amount
    from {{ ref('user_game_days') }} {{ latest_versions() }}
    where user_id not in (select user_id from behind)
    group by user_id, date
),

signed as (
    select
        user_id,
        date,
        cast(played as bigint) as played,
        bet_amount,
        payout_amount
    from days
    union all
    select
        user_id,
        date,
        -cast(played as bigint) as played,
        -bet_amount as bet_amount,
        -payout_amount as payout_amount
    from games
)

select
    user_id,
    date
from signed
group by user_id, date
having sum(played) != 0 or sum(bet_amount) != 0 or sum(payout_amount) != 0
