{{ config(materialized='view') }}

with
steps as (
    select
        user_id,
        toString(action_type) as step,
        occurred_at
    from {{ ref('stg_events') }}
    where action_type in ('SIGN_UP', 'LOGIN')
    union all
    select
        user_id,
        'ROUND' as step,
        assumeNotNull(settled_at) as occurred_at
    from {{ ref('game_rounds') }} {{ latest_versions() }}
    where is_played
    union all
    select
        user_id,
        'PURCHASE' as step,
        changed_at as occurred_at
    from {{ ref('purchases') }}
    where state = 'success'
)

select
    user_id,
    minOrNullIf(occurred_at, step = 'SIGN_UP') as signed_up_at,
    minOrNullIf(occurred_at, step = 'LOGIN') as first_login_at,
    minOrNullIf(occurred_at, step = 'ROUND') as first_round_at,
    minOrNullIf(occurred_at, step = 'PURCHASE') as first_purchase_at
from steps
group by user_id
