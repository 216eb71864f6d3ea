-- What the next publication would bring: checked before it does.
with
published as (
    select max(version) as version
    from {{ published_watermarks() }}
    where model = 'user_game_days'
)

select
    user_id,
    date as active_date,
    game_type,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount,
    toInt64(played) - toInt64(wins + losses + draws + no_outcome) as unaccounted_rounds,
    toInt64(if(game_type = 'gacha', wins + losses + draws, no_outcome)) as rounds_with_wrong_outcome
from {{ ref('user_game_days') }} {{ latest_versions() }}
where version > (select version from published)
