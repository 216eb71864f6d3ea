-- Another fifty users each minute: their days computed anew from all of raw, against what the increments
-- have left in the mart. Users with arrivals that the mart has still to see are left out.
{{ config(enabled=(target.type == 'clickhouse'), meta={'dagster': {'ref': {'name': 'user_days'}}}) }}
{%- set metrics %}
    is_active, has_daily_login, events, played, wins, losses, draws, no_outcome, bet_amount, payout_amount
{%- endset %}

with
behind as (
    {{ arrivals_past_watermarks(['user_days']) }}
),

sampled as (
    select user_id
    from {{ ref('user_days') }}
    where user_id not in (select user_id from behind)
    group by user_id
    order by cityHash64(user_id, toStartOfMinute({{ utc_now() }}, 'UTC'))
    limit 50
),

sampled_days as (
    select distinct
        user_id,
        occurred_date as date
    from {{ source('raw', 'arrivals') }}
    where user_id in (select user_id from sampled)
),

expected as (
    {{ player_days({
        'users': '(select user_id from sampled)',
        'days': '(select user_id, date from sampled_days)',
        'first_date': '(select min(date) from sampled_days)',
        'last_date': '(select max(date) from sampled_days)',
    }) }}
),

found as (
    select *
    from {{ ref('user_days') }} {{ latest_versions() }}
    where user_id in (select user_id from sampled)
),

both as (
    select user_id, date, {{ metrics }} from expected
    union all
    select user_id, date, {{ metrics }} from found
)

select
    user_id,
    date
from both
group by user_id, date, {{ metrics }}
having count() = 1
