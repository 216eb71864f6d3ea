{{ config(alias='user_days') }}

with
user_days as (
    select * from {{ ref('user_days') }} {{ latest_versions() }}
)

select
    user_id,
    date,
    is_active,
    has_daily_login,
    events,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount
from user_days
