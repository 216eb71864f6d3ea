select *
from {{ ref('user_days') }} final
where has_daily_login and not is_active
