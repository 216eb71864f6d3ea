{#- The pay-out of a round has a heavy tail: one spin in 800 pays a hundredfold. -#}
{%- set least_rounds = 500 -%}

-- Per game and configuration, how far this week's return to player and win share are from those of all
-- weeks before it, in standard errors; null where either has too few rounds to say.
with
rounds as (
    select
        game_type,
        {{ context_text('config_version') }} as config_version,
        {{ outcome('game_type', 'bet', 'payout') }} = 'win' as is_win,
        payout / bet as paid_per_bet,
        occurred_at > (
            select max(occurred_at) - interval 7 day from {{ ref('stg_events') }}
        ) as is_recent
    from {{ ref('stg_events') }}
    where round_state = 'settled' and bet > 0 and not is_demo
),

sums as (
    select
        game_type,
        config_version,
        countIf(is_recent) as recent_rounds,
        countIf(not is_recent) as earlier_rounds,
        avgIf(paid_per_bet, is_recent) as recent_rtp,
        avgIf(paid_per_bet, not is_recent) as earlier_rtp,
        varPop(paid_per_bet) as variance,
        avgIf(is_win, is_recent) as recent_win_share,
        avgIf(is_win, not is_recent) as earlier_win_share,
        avg(is_win) as win_share
    from rounds
    group by game_type, config_version
),

weighed as (
    select
        *,
        1 / recent_rounds + 1 / earlier_rounds as inverse_rounds,
        least(recent_rounds, earlier_rounds) >= {{ least_rounds }} as is_known
    from sums
)

select
    game_type,
    config_version,
    recent_rounds,
    earlier_rounds,
    recent_rtp,
    earlier_rtp,
    recent_win_share,
    earlier_win_share,
    if(
        is_known and variance > 0,
        abs(recent_rtp - earlier_rtp) / sqrt(variance * inverse_rounds),
        null
    ) as rtp_deviation,
    if(
        is_known and win_share > 0 and win_share < 1,
        abs(recent_win_share - earlier_win_share)
        / sqrt(win_share * (1 - win_share) * inverse_rounds),
        null
    ) as win_share_deviation
from weighed
