select *
from {{ ref('user_game_days') }} final
where played != wins + losses + draws + no_outcome
