{{ config(materialized='view') }}

with
steps as (
    select
        *,
        {{ context_text('season') }} as season,
        {{ context_integer('tier') }} as tier,
        {{ context_integer('xp') }} as xp
    from {{ ref('stg_events') }}
    where action_type = 'BATTLE_PASS_PROGRESS'
)

select
    user_id,
    season,
    {{ latest('steps.tier') }} as tier,
    {{ latest('steps.xp') }} as xp,
    max(steps.tier) as highest_tier,
    min(occurred_at) as started_at,
    max(occurred_at) as changed_at
from steps
group by user_id, season
