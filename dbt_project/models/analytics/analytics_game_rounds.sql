{{ config(alias='game_rounds') }}

with
game_rounds as (
    select * from {{ ref('game_rounds') }} {{ latest_versions() }}
)

select * except (version)
from game_rounds
