{{ config(materialized='view') }}
{%- set as_of = utc_today() %}

with
days as (
    select * from {{ ref('user_days') }} {{ latest_versions() }}
),

stats as (
    {{ player_stats(
        'days', as_of, {'active': 'is_active', 'daily_login': 'has_daily_login'}, 'is_active'
    ) }}
)

select
    *,
    {{ as_of }} as as_of,
    {{ win_rate() }} as win_rate
from stats
