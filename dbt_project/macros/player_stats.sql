{#-
    The player metrics as of a date, from days: one definition for the analysts' table and for the API.
    Windows are closed and include the date: the last N days are [as_of - (N - 1), as_of].
-#}


{#- One row per user of `days`, a relation with the columns of user_days. `active_days` names what the counts
    of days are called and the condition that makes a day active: {'active': ...} gives last_7d_active_days
    and so on. `active` is the condition for the first and the last date. The streak is of daily logins. -#}
{% macro player_stats(days, as_of, active_days, active) -%}
    select
        * except (login_dates),
        {{ current_streak('login_dates', as_of) }} as current_streak_days
    from (
        -- Two levels, because the engine resolves an array of logins anew at each mention.
        select
            user_id,
            {% for metric, total in game_metrics().items() %}
                sum({{ metric }}) as {{ total }},
            {% endfor %}
            {% for name, condition in active_days.items() %}
                {% for window, dates in activity_windows().items() %}
                    countIf({{ condition }} and date > {{ as_of }} - {{ dates }})
                        as {{ window }}_{{ name }}_days,
                {% endfor %}
                countIf({{ condition }}) as lifetime_{{ name }}_days,
            {% endfor %}
            minOrNullIf(date, {{ active }}) as first_active_date,
            maxOrNullIf(date, {{ active }}) as last_active_date,
            arrayReverseSort(groupUniqArrayIf(date, has_daily_login)) as login_dates
        from {{ days }}
        where date <= {{ as_of }}
        group by user_id
    )
{%- endmacro %}


{#- Consecutive days ending at as_of, or at the day before when as_of has none yet; else 0. In the distinct
    dates, newest first, the i-th is newest - (i - 1) exactly for the leading run and never after it. -#}
{% macro current_streak(newest_first, as_of) -%}
    if(
        {{ newest_first }}[1] >= {{ as_of }} - 1,
        arrayCount(
            (login, i) -> login = {{ newest_first }}[1] - (i - 1),
            {{ newest_first }},
            arrayEnumerate({{ newest_first }})
        ),
        0
    )
{%- endmacro %}


{#- The sums of the game metrics, under the same names. -#}
{% macro game_sums() -%}
    {% for metric in game_metrics() -%}
        sum({{ metric }}) as {{ metric }}{% if not loop.last %},
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
    from {{ game_days }}
    where date <= {{ as_of }}
    group by user_id, game_type
    having played > 0
{%- endmacro %}


{#- Whether a day is active under the definition that the reader passes. -#}
{% macro is_active_as_asked() -%}
    if({{ parameter('definition', 'String') }} = 'daily_login', has_daily_login, is_active)
{%- endmacro %}
