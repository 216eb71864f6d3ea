{#-
    The mart of user-days against raw: the days of users computed anew from raw, beside what the increments
    have left in the mart. A query of the user-days that differ. Users with arrivals that the mart has still to
    see are left out.
    `sample`: so many users, others each minute, of all their days. `last_days`: only the days from so many
    days ago on.
-#}
{% macro days_unlike_raw(sample=none, last_days=none) -%}
{%- set metrics -%}
    is_active, has_daily_login, events, played, wins, losses, draws, no_outcome, bet_amount, payout_amount
{%- endset -%}
{%- set since = utc_today() ~ ' - ' ~ last_days if last_days else none -%}
with
behind as (
    {{ arrivals_past_watermarks(['user_days']) }}
),

users as (
    select user_id
    from {{ ref('user_days') }}
    where user_id not in (select user_id from behind)
    group by user_id
    {% if sample -%}
        order by cityHash64(user_id, toStartOfMinute({{ utc_now() }}, 'UTC'))
        limit {{ sample }}
    {%- endif %}
),

days as (
    select distinct
        user_id,
        occurred_date as date
    from {{ source('raw', 'arrivals') }}
    where user_id in (select user_id from users) {% if since %}and occurred_date >= {{ since }}{% endif %}
),

expected as (
    {{ player_days({
        'users': '(select user_id from days)',
        'days': '(select user_id, date from days)',
        'first_date': '(select min(date) from days)',
        'last_date': '(select max(date) from days)',
    }) }}
),

found as (
    select *
    from {{ ref('user_days') }} {{ latest_versions() }}
    where user_id in (select user_id from users) {% if since %}and date >= {{ since }}{% endif %}
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
{%- endmacro %}
