{#-
    The player metrics as of a date, from days: one definition for the analysts' table and for the API.
    Windows are closed and include the date: the last N days are [as_of - (N - 1), as_of].
-#}


{#- Activity metrics per user. `days`: a relation (user_id, date, ...); `active`: the condition that makes
    a day active under the asked definition. The streak counts daily_login days under either. -#}
{% macro activity_stats(days, as_of, active, prefix='') -%}
    select
        user_id,
        {% for window in [7, 30, 90] %}
            countIf({{ active }} and date > {{ as_of }} - {{ window }}) as last_{{ window }}d_active_days,
        {% endfor %}
        countIf({{ active }}) as lifetime_active_days,
        {{ current_streak('has_daily_login', as_of) }} as current_streak_days,
        minOrNullIf(date, {{ active }}) as first_active_date,
        maxOrNullIf(date, {{ active }}) as last_active_date
    from {{ days }}
    where date <= {{ as_of }}
    group by user_id
{%- endmacro %}


{#- Consecutive days ending at as_of, or at the day before when as_of has none yet; else 0. In the distinct
    dates, newest first, the i-th is newest - (i - 1) exactly for the leading run and never after it. -#}
{% macro current_streak(condition, as_of) -%}
    length(arrayFilter(
        (day, i) -> newest_login[1] >= {{ as_of }} - 1 and day = newest_login[1] - (i - 1),
        arrayReverseSort(groupUniqArrayIf(date, {{ condition }})) as newest_login,
        arrayEnumerate(newest_login)
    ))
{%- endmacro %}


{#- The game metrics as sums over days and games. -#}
{% macro game_sums() -%}
    {% for metric in ['played', 'wins', 'losses', 'draws', 'no_outcome', 'bet_amount', 'payout_amount'] -%}
        sum({{ metric }}) as {{ metric }}{% if not loop.last %},
        {% endif %}
    {%- endfor %}
{%- endmacro %}
