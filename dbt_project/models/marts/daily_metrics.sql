{{ config(materialized='view') }}
{#- What makes a day active, and how the columns that are counted by it begin. -#}
{%- set windows = population_windows() %}
{%- set populations = {'': 'is_active', 'daily_login_': 'has_daily_login'} %}

with
user_days as (
    select * from {{ ref('user_days') }} {{ latest_versions() }}
    where date <= {{ utc_today() }}
),

bounds as (
    select
        min(date) as first_date,
        {{ utc_today() }} as last_date
    from user_days
    having count(*) > 0
),

-- Without a gap: on a day on which nobody came there are still WAU and MAU.
dates as (
    {{ dates_between('bounds') }}
),

{% for prefix, is_counted in populations.items() %}
    {{ prefix }}active_days as (
        select
            date,
            lead(date, 1, date + {{ windows.mau }}) over (partition by user_id order by date) as next_date,
            row_number() over (partition by user_id order by date) as nth
        from user_days
        where {{ is_counted }}
    ),

    -- A user is in the window of N days from each active day until N days later or until the next
    -- active day, whichever comes first: the user-days are read once, whatever the window.
    {{ prefix }}changes as (
        select
            date,
            count(*) as dau,
            sum(case when nth = 1 then 1 else 0 end) as new_users,
            cast(count(*) as bigint) as wau_change,
            cast(count(*) as bigint) as mau_change
        from {{ prefix }}active_days
        group by date
        union all
        select
            least(next_date, date + {{ windows.wau }}) as left_on,
            0 as dau,
            0 as new_users,
            -cast(count(*) as bigint) as wau_change,
            0 as mau_change
        from {{ prefix }}active_days
        group by left_on
        union all
        select
            least(next_date, date + {{ windows.mau }}) as left_on,
            0 as dau,
            0 as new_users,
            0 as wau_change,
            -cast(count(*) as bigint) as mau_change
        from {{ prefix }}active_days
        group by left_on
        union all
        select
            date,
            0 as dau,
            0 as new_users,
            0 as wau_change,
            0 as mau_change
        from dates
    ),

    {{ prefix }}changes_by_date as (
        select
            date,
            sum(dau) as dau,
            sum(new_users) as new_users,
            sum(wau_change) as wau_change,
            sum(mau_change) as mau_change
        from {{ prefix }}changes
        group by date
    ),

    {{ prefix }}population as (
        select
            date,
            dau,
            new_users,
            sum(wau_change) over (order by date) as wau,
            sum(mau_change) over (order by date) as mau
        from {{ prefix }}changes_by_date
    ),
{% endfor %}

totals as (
    select
        date,
        sum(events) as events,
        {{ game_sums() }}
    from (
        select
            date,
            events,
            {{ game_metrics() | join(', ') }}
        from user_days
        union all
        select
            date,
            0 as events,
            {{ no_game_sums() }}
        from dates
    ) as days
    group by date
)

select
    totals.date as date,
    {% for prefix in populations %}
        cast({{ prefix }}population.dau as bigint) as {{ prefix }}dau,
        cast({{ prefix }}population.wau as bigint) as {{ prefix }}wau,
        cast({{ prefix }}population.mau as bigint) as {{ prefix }}mau,
        {{ stickiness(prefix ~ 'population.dau', prefix ~ 'population.mau') }} as {{ prefix }}stickiness,
    {% endfor %}
    cast(population.new_users as bigint) as new_users,
    cast(population.dau - population.new_users as bigint) as returning_users,
    cast(totals.events as bigint) as events,
    cast(totals.played as bigint) as rounds,
    cast(totals.wins as bigint) as wins,
    cast(totals.losses as bigint) as losses,
    cast(totals.draws as bigint) as draws,
    cast(totals.no_outcome as bigint) as no_outcome,
    cast(totals.bet_amount as bigint) as bet_amount,
    cast(totals.payout_amount as bigint) as payout_amount,
    {{ returns('totals.bet_amount', 'totals.payout_amount') }}
from totals
{% for prefix in populations %}
    inner join {{ prefix }}population on totals.date = {{ prefix }}population.date
{% endfor %}
