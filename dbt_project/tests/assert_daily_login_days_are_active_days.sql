select *
from {{ ref('user_days') }} {{ latest_versions() }}
where has_daily_login and not is_active
