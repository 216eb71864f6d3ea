{{ config(alias='game_rounds') }}

with
game_rounds as (
    select * from {{ ref('game_rounds') }} {{ latest_versions() }}
)

select
    user_id,
    round_id,
    state,
    game_type,
    config_version,
    is_demo,
    is_played,
    opened_at,
    changed_at,
    settled_at,
    date,
    units,
    bet_amount,
    payout_amount,
    outcome
from game_rounds
