{#- A ratio of two numbers; null where the denominator is 0. -#}
{% macro ratio(numerator, denominator) -%}
    cast({{ numerator }} as double precision) / nullif({{ denominator }}, 0)
{%- endmacro %}


{#- The return metrics of sums of stakes and payouts: rtp, hold and ggr. -#}
{% macro returns(bet='bet_amount', payout='payout_amount') -%}
    {{ rtp(payout, bet) }} as rtp,
    {{ hold(payout, bet) }} as hold,
    {{ ggr(bet, payout) }} as ggr
{%- endmacro %}
