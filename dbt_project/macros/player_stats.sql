{#-
    The player metrics as of a date, from days: one definition for the analysts' table and for the API.
    Windows are closed and include the date: the last N days are [as_of - (N - 1), as_of].
-#}


{#- One row per user of `days`, a relation with the columns of user_days. `active_days` names what the counts
    of days are called and the condition that makes a day active: {'active': ...} gives last_7d_active_days
    and so on. `active` is the condition for the first and the last date. The streak is of daily logins. -#}
{% macro player_stats(days, as_of, active_days, active) -%}
    {% set columns = game_metrics().values() | list %}
    {% for name in active_days %}
        {% for window in activity_windows().keys() | list + ['lifetime'] %}
            {% do columns.append(window ~ '_' ~ name ~ '_days') %}
        {% endfor %}
    {% endfor %}
    select
        user_id,
        {{ columns | join(', ') }},
        first_active_date,
        last_active_date,
        {{ leading_run('login_dates', as_of) }} as current_streak_days
    from (
        -- Two levels, because ClickHouse resolves an array of logins anew at each mention.
        select
            user_id,
            {% for metric, total in game_metrics().items() %}
                {{ integer_sum(metric) }} as {{ total }},
            {% endfor %}
            {% for name, condition in active_days.items() %}
                {% for window, dates in activity_windows().items() %}
                    count(*) filter (where {{ condition }} and date > {{ as_of }} - {{ dates }})
                        as {{ window }}_{{ name }}_days,
                {% endfor %}
                count(*) filter (where {{ condition }}) as lifetime_{{ name }}_days,
            {% endfor %}
            min(case when {{ active }} then date end) as first_active_date,
            max(case when {{ active }} then date end) as last_active_date,
            {{ newest_first('date', 'has_daily_login') }} as login_dates
        from {{ days }}
        where date <= {{ as_of }}
        group by user_id
    ) as of_user
{%- endmacro %}


{#- An array of the distinct dates of the rows that meet a condition. -#}
{% macro newest_first(date, condition) -%}
    {{ return(adapter.dispatch('newest_first', 'tally')(date, condition)) }}
{%- endmacro %}

{% macro default__newest_first(date, condition) -%}
    array_agg(distinct {{ date }} order by {{ date }} desc) filter (where {{ condition }})
{%- endmacro %}

{% macro clickhouse__newest_first(date, condition) -%}
    arrayReverseSort(groupUniqArrayIf({{ date }}, {{ condition }}))
{%- endmacro %}


{#- How many of the dates of `newest_first` are consecutive and end at as_of, or at the day before when
    as_of is not among them; else 0. The i-th date is newest - (i - 1) exactly for the leading run and never
    after it. -#}
{% macro leading_run(dates, as_of) -%}
    {{ return(adapter.dispatch('leading_run', 'tally')(dates, as_of)) }}
{%- endmacro %}

{% macro default__leading_run(dates, as_of) -%}
    case
        when {{ dates }}[1] >= {{ as_of }} - 1
            then (
                select count(*)
                from (
                    select
                        unnest({{ dates }}) as date,
                        generate_subscripts({{ dates }}, 1) as i
                ) as numbered
                where date = {{ dates }}[1] - cast(i - 1 as integer)
            )
        else 0
    end
{%- endmacro %}

{% macro clickhouse__leading_run(dates, as_of) -%}
    if(
        {{ dates }}[1] >= {{ as_of }} - 1,
        arrayCount(
            (date, i) -> date = {{ dates }}[1] - (i - 1),
            {{ dates }},
            arrayEnumerate({{ dates }})
        ),
        0
    )
{%- endmacro %}


{#- The sums of the game metrics, under the same names. -#}
{% macro game_sums() -%}
    {% for metric in game_metrics() -%}
        {{ integer_sum(metric) }} as {{ metric }}{% if not loop.last %},
        {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- The sums over no days at all. -#}
{% macro no_game_sums() -%}
    {% for metric in game_metrics() -%}
        0 as {{ metric }}{% if not loop.last %},
        {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- The game metrics by user and game of `game_days`, a relation with the columns of user_game_days. -#}
{% macro player_games(game_days, as_of) -%}
    select
        user_id,
        game_type,
        {{ game_sums() }}
    from {{ game_days }} as days
    where date <= {{ as_of }}
    group by user_id, game_type
    -- Qualified, because a bare `played` is the sum of this name above on ClickHouse (error 184).
    having sum(days.played) > 0
{%- endmacro %}


{#- Whether a day is active under the definition that the reader passes. -#}
{% macro is_active_as_asked() -%}
    if({{ parameter('definition', 'String') }} = 'daily_login', has_daily_login, is_active)
{%- endmacro %}
