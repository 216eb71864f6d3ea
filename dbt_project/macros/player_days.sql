{#-
    The definitions of what one user did on one UTC day. The marts and the live relation are both made
    of these macros, so a number cannot depend on which of the two a day was read from.

    `touched` limits the work to user-days: SQL for the right side of `in` for its users and its (user,
    date) pairs, and for its first and last date (see `touched_in_window`, `touched_as_asked`). Without
    it, all of raw is read.
    Duplicates of an event change nothing here: every aggregate is over distinct events or takes a
    maximum.
-#}


{#- The user-days that arrivals touch: their own, and every day of the rounds they belong to, because a
    later void takes a round out of the day on which it was settled. `arrived`: a CTE of arrivals. -#}
{% macro touched_days(arrived) -%}
    select
        user_id,
        occurred_date as date
    from {{ arrived }}
    union distinct
    select
        user_id,
        {{ utc_date('occurred_at') }} as date
    from {{ source('raw', 'round_events') }}
    where
        user_id in (select user_id from {{ arrived }})
        and (user_id, round_id) in (
            select
                user_id,
                round_id
            from {{ arrived }}
            where round_id != ''
        )
{%- endmacro %}


{#- Restricts raw events to the touched days. The bounds let ClickHouse skip whole months. -#}
{% macro is_on_touched_day(touched) -%}
    user_id in {{ touched.users }}
    and occurred_at >= toDateTime64({{ touched.first_date }}, 3, 'UTC')
    and occurred_at < toDateTime64({{ touched.last_date }} + 1, 3, 'UTC')
    and (user_id, {{ utc_date('occurred_at') }}) in {{ touched.days }}
{%- endmacro %}


{#- The touched days of the asked users, as a reader passes them: `touched` and, for the bounds, the first
    and the last of their dates. -#}
{% macro touched_as_asked() %}
    {{ return({
        'users': parameter('user_ids', 'Array(UInt64)'),
        'days': parameter('touched', 'Array(Tuple(UInt64, Date))'),
        'first_date': parameter('first_touched', 'Date'),
        'last_date': parameter('last_touched', 'Date'),
    }) }}
{% endmacro %}


{#- user_id, date, is_active (all_actions), has_daily_login, events. -#}
{% macro activity_by_day(touched=none) -%}
    select
        user_id,
        {{ utc_date('occurred_at') }} as date,
        {% for column, condition in active_day_definitions().items() %}
            max({{ condition }}) as {{ column }},
        {% endfor %}
        uniqExact(event_id) as events
    from {{ source('raw', 'events') }}
    {% if touched %}where {{ is_on_touched_day(touched) }}{% endif %}
    group by user_id, date
{%- endmacro %}


{#- One row per round: its state is that of its latest event (occurred_at, then event_id as text);
    stakes, results and game are those of its latest settled event. -#}
{% macro rounds(touched=none) -%}
    select
        user_id,
        round_id,
        argMax(round_state, (occurred_at, toString(event_id))) as state,
        argMaxIf(
            (occurred_at, game_type, bet, payout, is_demo),
            (occurred_at, toString(event_id)),
            round_state = 'settled'
        ) as settled,
        groupUniqArray(({{ utc_date('occurred_at') }}, game_type)) as seen_on
    from {{ source('raw', 'round_events') }}
    {% if touched %}
        where
            user_id in {{ touched.users }}
            and (user_id, round_id) in (
                select
                    user_id,
                    round_id
                from {{ source('raw', 'events') }}
                where round_id != '' and {{ is_on_touched_day(touched) }}
            )
    {% endif %}
    group by user_id, round_id
{%- endmacro %}


{#- user_id, date, game_type and the game metrics, a row for each day and game on which a round had any
    event: a round counts on the day of its settled event, and a row that it left says 0. -#}
{% macro games_by_day(touched=none) -%}
    select
        user_id,
        seen.1 as date,
        toString(seen.2) as game_type,
        countIf(is_counted) as played,
        countIf(is_counted and outcome = 'win') as wins,
        countIf(is_counted and outcome = 'loss') as losses,
        countIf(is_counted and outcome = 'draw') as draws,
        countIf(is_counted and outcome = 'none') as no_outcome,
        sumIf(settled.3, is_counted) as bet_amount,
        sumIf(settled.4, is_counted) as payout_amount
    from (
        select
            user_id,
            settled,
            {{ outcome('settled.2', 'settled.3', 'settled.4') }} as outcome,
            arrayJoin(seen_on) as seen,
            state = 'settled'
            and not settled.5
            and seen = ({{ utc_date('settled.1') }}, settled.2) as is_counted
        from ({{ rounds(touched) }})
    )
    {% if touched %}where (user_id, date) in {{ touched.days }}{% endif %}
    group by user_id, date, game_type
{%- endmacro %}


{#- Everything that a user did on a day: activity and the sums over games, the columns of user_days. -#}
{% macro player_days(touched=none) -%}
    select
        activity.user_id as user_id,
        activity.date as date,
        toBool(activity.is_active) as is_active,
        toBool(activity.has_daily_login) as has_daily_login,
        activity.events as events,
        toUInt64(coalesce(games.played, 0)) as played,
        toUInt64(coalesce(games.wins, 0)) as wins,
        toUInt64(coalesce(games.losses, 0)) as losses,
        toUInt64(coalesce(games.draws, 0)) as draws,
        toUInt64(coalesce(games.no_outcome, 0)) as no_outcome,
        toInt64(coalesce(games.bet_amount, 0)) as bet_amount,
        toInt64(coalesce(games.payout_amount, 0)) as payout_amount
    from ({{ activity_by_day(touched) }}) as activity
    left join (
        select
            user_id,
            date,
            {{ game_sums() }}
        from ({{ games_by_day(touched) }})
        group by user_id, date
    ) as games
        on activity.user_id = games.user_id and activity.date = games.date
{%- endmacro %}
