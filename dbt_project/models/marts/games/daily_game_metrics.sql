{{ config(materialized='view') }}

with
played as (
    select * from {{ ref('game_rounds') }} {{ latest_versions() }}
    where is_played
),

totals as (
    select
        assumeNotNull(played.date) as date,
        game_type,
        config_version,
        uniqExact(user_id) as players,
        count() as rounds,
        sum(units) as units,
        countIf(outcome = 'win') as wins,
        countIf(outcome = 'loss') as losses,
        countIf(outcome = 'draw') as draws,
        countIf(outcome = 'none') as no_outcome,
        assumeNotNull(sum(played.bet_amount)) as bet_amount,
        assumeNotNull(sum(played.payout_amount)) as payout_amount
    from played
    group by date, game_type, config_version
)

select
    *,
    {{ returns() }}
from totals
