{{ config(materialized='view') }}

with
steps as (
    select
        *,
        {{ context_text('achievement_code') }} as achievement_code,
        {{ context_number('progress') }} as progress,
        {{ context_flag('unlocked') }} as unlocked
    from {{ ref('stg_events') }}
    where action_type = 'ACHIEVEMENT_PROGRESS'
)

select
    user_id,
    achievement_code,
    {{ latest('steps.progress') }} as progress,
    max(steps.progress) as highest_progress,
    toBool(max(unlocked)) as is_unlocked,
    minOrNullIf(occurred_at, unlocked) as unlocked_at,
    min(occurred_at) as started_at,
    max(occurred_at) as changed_at
from steps
group by user_id, achievement_code
