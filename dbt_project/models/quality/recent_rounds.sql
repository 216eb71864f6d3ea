-- The settled rounds of the last day of arrivals, and the result that the backend declared of each.
with
settled as (
    select
        user_id,
        round_id,
        game_type,
        bet,
        payout,
        units,
        {{ context_text('result') }} as declared_result,
        {{ outcome('game_type', 'bet', 'payout') }} as result
    from {{ ref('stg_events') }}
    where round_state = 'settled' and received_at > {{ utc_now() }} - interval 1 day
)

select
    *,
    declared_result not in ('', result) as is_contradicted
from settled
