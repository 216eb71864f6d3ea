select *
from {{ ref('user_game_days') }} {{ latest_versions() }}
where played != wins + losses + draws + no_outcome
