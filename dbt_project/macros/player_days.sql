{#-
    The definitions of what one user did on one UTC day. The marts and the live relation are both made
    of these macros, so a number cannot depend on which of the two a day was read from.

    `touched` limits the work to user-days: SQL for the right side of `in` for its users and its (user,
    date) pairs, and for its first and last date (see `touched_in_window`, `touched_as_asked`); and the
    relation of all events of the rounds on them, `round_events`, where it has been looked up already.
    Without `touched`, all of raw is read.
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
    from {{ accepted_round_events() }}
    where {{ is_of_rounds('(select user_id, round_id from ' ~ arrived ~ " where round_id != '')") }}
{%- endmacro %}


{#- Restricts accepted events to the touched days. The bounds let ClickHouse skip whole months. -#}
{% macro is_on_touched_day(touched) -%}
    user_id in {{ touched.users }}
    and occurred_at >= {{ start_of_day(touched.first_date) }}
    and occurred_at < {{ start_of_day(touched.last_date ~ ' + 1') }}
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
            max(case when {{ condition }} then 1 else 0 end) as {{ column }},
        {% endfor %}
        {{ count_distinct('event_id') }} as events
    from {{ accepted_events() }}
    {% if touched %}where {{ is_on_touched_day(touched) }}{% endif %}
    group by user_id, date
{%- endmacro %}


{#- One row per round: its state and all else are those of its latest event (`latest_events`), so that
    stakes, results and game of a round in state settled are those of its latest settled event. -#}
{% macro rounds(touched=none) -%}
    {% set is_looked_up = not touched or 'round_events' in touched %}
    {{ latest_events(
        round_events(touched),
        ['user_id', 'round_id'],
        ['round_state', 'occurred_at', 'game_type', 'bet', 'payout', 'is_demo'],
        'true' if is_looked_up else is_in_a_round_of_touched_day(touched),
    ) }}
{%- endmacro %}


{#- A relation in which the events of all rounds of the touched days are. -#}
{% macro round_events(touched=none) -%}
    {{ (touched or {}).get('round_events') or accepted_round_events() }}
{%- endmacro %}


{#- Restricts the events of rounds to the whole histories of those that have an event on a touched day. -#}
{% macro is_in_a_round_of_touched_day(touched) -%}
    {% set rounds -%}
        (
            select
                user_id,
                round_id
            from {{ accepted_events() }}
            where round_id != '' and {{ is_on_touched_day(touched) }}
        )
    {%- endset %}
    {{ is_of_rounds(rounds, touched.users) }}
{%- endmacro %}


{#- The rounds that count, each on the UTC day of its settled event. -#}
{% macro played_rounds(touched=none) -%}
    select
        user_id,
        {{ utc_date('occurred_at') }} as date,
        game_type,
        {{ outcome('game_type', 'bet', 'payout') }} as outcome,
        bet,
        payout
    from ({{ rounds(touched) }}) as rounds
    where round_state = 'settled' and not is_demo
{%- endmacro %}


{#- The game metrics of `played_rounds`, and of rows that are none and have the outcome ''. -#}
{% macro sums_of_rounds() -%}
    count(*) filter (where outcome != '') as played,
    count(*) filter (where outcome = 'win') as wins,
    count(*) filter (where outcome = 'loss') as losses,
    count(*) filter (where outcome = 'draw') as draws,
    count(*) filter (where outcome = 'none') as no_outcome,
    {{ integer_sum('bet') }} as bet_amount,
    {{ integer_sum('payout') }} as payout_amount
{%- endmacro %}


{#- user_id, date, game_type and the game metrics, a row for each day and game on which a round had any
    event: a round counts on the day of its settled event, and a row that it left says 0. -#}
{% macro games_by_day(touched=none) -%}
    select
        user_id,
        date,
        cast(game_type as {{ dbt.type_string() }}) as game_type,
        {{ sums_of_rounds() }}
    from (
        select
            user_id,
            {{ utc_date('occurred_at') }} as date,
            game_type,
            '' as outcome,
            0 as bet,
            0 as payout
        from {{ round_events(touched) }}
        group by user_id, date, game_type
        union all
        {{ played_rounds(touched) }}
    ) as seen_and_played
    {% if touched %}where (user_id, date) in {{ touched.days }}{% endif %}
    group by user_id, date, game_type
{%- endmacro %}


{#- `games_by_day` without the rows that say 0, for readers who only add up. -#}
{% macro played_games_by_day(touched=none) -%}
    select
        user_id,
        date,
        cast(game_type as {{ dbt.type_string() }}) as game_type,
        {{ sums_of_rounds() }}
    from ({{ played_rounds(touched) }}) as played
    {% if touched %}where (user_id, date) in {{ touched.days }}{% endif %}
    group by user_id, date, game_type
{%- endmacro %}


{#- Everything that a user did on a day: activity and the sums over games, the columns of user_days. -#}
{% macro player_days(touched=none) -%}
    select
        activity.user_id as user_id,
        activity.date as date,
        cast(activity.is_active as boolean) as is_active,
        cast(activity.has_daily_login as boolean) as has_daily_login,
        activity.events as events,
        {% for metric in game_metrics() -%}
            coalesce(games.{{ metric }}, 0) as {{ metric }}{% if not loop.last %},
        {% endif %}
        {%- endfor %}
    from ({{ activity_by_day(touched) }}) as activity
    left join (
        select
            user_id,
            date,
            {{ game_sums() }}
        from ({{ played_games_by_day(touched) }}) as game_days
        group by user_id, date
    ) as games
        on activity.user_id = games.user_id and activity.date = games.date
{%- endmacro %}


{#- The rows of a published mart that stand: those of the asked users beside the touched days. -#}
{% macro untouched_as_asked(mart) -%}
    {{ published(mart) }} {{ latest_versions() }}
    where
        user_id in {{ touched_as_asked().users }}
        and (user_id, date) not in {{ touched_as_asked().days }}
{%- endmacro %}


{#- The asked users' days: those of the published mart, and computed from raw in place of the touched ones. -#}
{% macro days_as_asked(columns) -%}
    {%- set touched = touched_as_asked() %}
    select {{ columns }}
    from {{ untouched_as_asked('user_days') }}
    union all
    select {{ columns }}
    from ({{ player_days(touched) }})
{%- endmacro %}


{#- What the asked users' days add up to, for `player_stats`: a touched day is a row for its activity and one for
    its games. Joined to one, as `days_as_asked` gives it, they cost twice as much to plan (62 ms of CPU for a
    player, not 34). -#}
{% macro parts_of_days_as_asked() -%}
    {%- set touched = touched_as_asked() %}
    select
        user_id,
        date,
        has_daily_login,
        {{ is_active_as_asked() }} as is_counted,
        {{ game_metrics() | join(', ') }}
    from {{ untouched_as_asked('user_days') }}
    union all
    select
        user_id,
        date,
        cast(has_daily_login as boolean) as has_daily_login,
        cast({{ is_active_as_asked() }} as boolean) as is_counted,
        {{ no_game_sums() }}
    from ({{ activity_by_day(touched) }})
    union all
    select
        user_id,
        date,
        false as has_daily_login,
        false as is_counted,
        {{ game_metrics() | join(', ') }}
    from ({{ played_games_by_day(touched) }})
{%- endmacro %}
