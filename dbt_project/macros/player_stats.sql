{#-
    The player metrics as of a date, from days: one definition for the analysts' table and for the API.
    Windows are closed and include the date: the last N days are [as_of - (N - 1), as_of].
-#}


{#- Activity metrics per user. `days`: a relation (user_id, date, is_active, has_daily_login); `active`: the
    column that makes a day active under the asked definition. The streak is of daily logins under either.
    Two levels, because the engine would resolve the array of logins anew at each mention (9 ms a read). -#}
{% macro activity_stats(days, as_of, active) -%}
    select
        * except login_dates,
        {{ current_streak('login_dates', as_of) }} as current_streak_days
    from (
        select
            user_id,
            {% for window in [7, 30, 90] %}
                countIf({{ active }} and date > {{ as_of }} - {{ window }}) as last_{{ window }}d_active_days,
            {% endfor %}
            countIf({{ active }}) as lifetime_active_days,
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


{#- The metrics that add up over days and games. -#}
{% macro game_metrics() %}
    {{ return([
        'played', 'wins', 'losses', 'draws', 'no_outcome', 'bet_amount', 'payout_amount'
    ]) }}
{% endmacro %}


{#- Their sums, under the same names. -#}
{% macro game_sums() -%}
    {% for metric in game_metrics() -%}
        sum({{ metric }}) as {{ metric }}{% if not loop.last %},
        {% endif %}
    {%- endfor %}
{%- endmacro %}


{#- What `GET /api/users/stats` answers, per user: from the CTEs `days` (user_id, date, active,
    has_daily_login) and `game_days` (user_id, date, game_type and the game metrics). The totals are the sums
    of the games listed beside them, so the two agree in every answer. -#}
{% macro api_stats(as_of) -%}
    activity as (
        {{ activity_stats('days', as_of, 'active') }}
    ),

    games_by_type as (
        select
            user_id,
            game_type,
            {{ game_sums() }}
        from game_days
        where date <= {{ as_of }}
        group by user_id, game_type
        having played > 0
    ),

    games as (
        select
            user_id,
            {{ game_sums() }},
            arraySort(groupArray((
                game_type,
                {% for metric in game_metrics() -%}
                    games_by_type.{{ metric }}{% if not loop.last %},{% endif %}
                {% endfor -%}
            ))) as by_game
        from games_by_type
        group by user_id
    )

    select
        activity.user_id as user_id,
        toUInt64(coalesce(games.played, 0)) as total_games_played,
        toUInt64(coalesce(games.wins, 0)) as total_wins,
        toUInt64(coalesce(games.losses, 0)) as total_losses,
        toUInt64(coalesce(games.draws, 0)) as total_draws,
        toUInt64(coalesce(games.no_outcome, 0)) as total_no_outcome,
        toInt64(coalesce(games.bet_amount, 0)) as bet_amount,
        toInt64(coalesce(games.payout_amount, 0)) as payout_amount,
        activity.last_7d_active_days as last_7d_active_days,
        activity.last_30d_active_days as last_30d_active_days,
        activity.last_90d_active_days as last_90d_active_days,
        activity.lifetime_active_days as lifetime_active_days,
        activity.current_streak_days as current_streak_days,
        activity.first_active_date as first_active_date,
        activity.last_active_date as last_active_date,
        games.by_game as by_game
    from activity
    left join games on activity.user_id = games.user_id
{%- endmacro %}


{#- Whether a day is active under the definition that the reader passes. -#}
{% macro is_active_as_asked() -%}
    if({{ parameter('definition', 'String') }} = 'daily_login', has_daily_login, is_active)
{%- endmacro %}
