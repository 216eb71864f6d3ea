with
user_game_days as (
    select * from {{ ref('user_game_days') }} {{ latest_versions() }}
)

select
    user_id,
    date,
    game_type,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount
from user_game_days
