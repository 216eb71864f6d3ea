-- Each mart takes its own window, so users with arrivals that one of them has still to see are left out.
{{ config(tags=['deep'], meta={'dagster': {'ref': {'name': 'game_rounds'}}}) }}

with
behind as (
    {{ arrivals_past_watermarks(['user_game_days', 'game_rounds']) }}
),

signed as (
    select
        user_id,
        date,
        game_type,
        cast(1 as bigint) as played,
        bet_amount,
        payout_amount
    from {{ ref('game_rounds') }} {{ latest_versions() }}
    where is_played and user_id not in (select user_id from behind)
    union all
    select
        user_id,
        date,
        game_type,
        -cast(played as bigint) as played,
        -bet_amount as bet_amount,
        -payout_amount as payout_amount
    from {{ ref('user_game_days') }} {{ latest_versions() }}
    where user_id not in (select user_id from behind)
)

select
    user_id,
    date,
    game_type
from signed
group by user_id, date, game_type
having sum(played) != 0 or sum(bet_amount) != 0 or sum(payout_amount) != 0
