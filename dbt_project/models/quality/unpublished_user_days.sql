-- What the next publication would bring: checked before it does.
with
published as (
    select max(version) as version
    from {{ published_watermarks() }}
    where model = 'user_days'
)

select
    user_id,
    date as active_date,
    is_active,
    has_daily_login,
    events,
    played,
    wins,
    losses,
    draws,
    no_outcome,
    bet_amount,
    payout_amount,
    toInt64(played) - toInt64(wins + losses + draws + no_outcome) as unaccounted_rounds,
    has_daily_login and not is_active as is_login_without_activity,
    dateDiff('day', {{ utc_today() }}, date) as days_ahead
from {{ ref('user_days') }} {{ latest_versions() }}
where version > (select version from published)
