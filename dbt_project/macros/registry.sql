{#- Generated from models/metrics by `make generate`: definitions are changed there. -#}


{#- By the column that says so, the condition on an event that makes its day active. -#}
{% macro active_day_definitions() %}
    {{ return({
        'is_active': "initiator = 'user'",
        'has_daily_login': "action_type = 'DAILY_LOGIN'",
    }) }}
{% endmacro %}


{#- The windows of a user's active days, in dates. -#}
{% macro activity_windows() %}
    {{ return({
        'last_7d': 7,
        'last_30d': 30,
        'last_90d': 90,
    }) }}
{% endmacro %}


{#- The windows of the active users, in dates. -#}
{% macro population_windows() %}
    {{ return({
        'dau': 1,
        'wau': 7,
        'mau': 30,
    }) }}
{% endmacro %}


{#- The measures of a day that add up over days and games, and the names of their totals. -#}
{% macro game_metrics() %}
    {{ return({
        'played': 'total_games_played',
        'wins': 'total_wins',
        'losses': 'total_losses',
        'draws': 'total_draws',
        'no_outcome': 'total_no_outcome',
        'bet_amount': 'bet_amount',
        'payout_amount': 'payout_amount',
    }) }}
{% endmacro %}


{#- How a settled round ended. -#}
{% macro outcome(game_type, bet, payout) -%}
    case
        when {{ game_type }} <> 'gacha' and {{ payout }} > {{ bet }} then 'win'
        when {{ game_type }} <> 'gacha' and ({{ payout }} < {{ bet }} or ({{ bet }} = 0 and {{ payout }} = 0)) then 'loss'
        when {{ game_type }} <> 'gacha' and {{ payout }} = {{ bet }} and {{ bet }} > 0 then 'draw'
        when {{ game_type }} = 'gacha' then 'none'
    end
{%- endmacro %}


{#- Win rate: wins / (wins + losses). -#}
{% macro win_rate(total_wins='total_wins', total_losses='total_losses') -%}
    cast({{ total_wins }} as double precision) / nullif({{ total_wins }} + {{ total_losses }}, 0)
{%- endmacro %}


{#- Return to player: payout / bet. -#}
{% macro rtp(payout_amount='payout_amount', bet_amount='bet_amount') -%}
    {{ ratio(payout_amount, bet_amount) }}
{%- endmacro %}


{#- Hold: 1 - RTP. -#}
{% macro hold(payout_amount='payout_amount', bet_amount='bet_amount') -%}
    1 - {{ rtp(payout_amount, bet_amount) }}
{%- endmacro %}


{#- Gross gaming result, in gold: bet - payout. -#}
{% macro ggr(bet_amount='bet_amount', payout_amount='payout_amount') -%}
    {{ bet_amount }} - {{ payout_amount }}
{%- endmacro %}


{#- Stickiness: DAU / MAU. -#}
{% macro stickiness(dau='dau', mau='mau') -%}
    {{ ratio(dau, mau) }}
{%- endmacro %}


{% macro retained_users_days() %}
    {{ return(30) }}
{% endmacro %}


{#- Retention DN: users active on c + N / users with their first active day on c. -#}
{% macro retention(retained_users='retained_users', cohort_size='cohort_size') -%}
    {{ ratio(retained_users, cohort_size) }}
{%- endmacro %}


{% macro sessions_gap_minutes() %}
    {{ return(30) }}
{% endmacro %}


{#- Login failure rate: LOGIN_FAILED / (LOGIN + LOGIN_FAILED). -#}
{% macro login_failure_rate(failed_logins='failed_logins', login_attempts='login_attempts') -%}
    {{ ratio(failed_logins, login_attempts) }}
{%- endmacro %}


{#- Purchase success rate: success / (success + failed) over purchases by latest state. -#}
{% macro purchase_success_rate(succeeded_purchases='succeeded_purchases', decided_purchases='decided_purchases') -%}
    {{ ratio(succeeded_purchases, decided_purchases) }}
{%- endmacro %}


{#- Ingest loss ratio: 1 - distinct accepted or quarantined event ids / distinct event ids in the system of record. -#}
{% macro ingest_loss_ratio(lost_actions='lost_actions', recorded_actions='recorded_actions') -%}
    {{ ratio(lost_actions, recorded_actions) }}
{%- endmacro %}
