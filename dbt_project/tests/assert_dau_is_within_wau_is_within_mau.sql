select *
from {{ ref('daily_metrics') }}
where
    dau > wau
    or wau > mau
    or daily_login_dau > dau
    or daily_login_wau > wau
    or daily_login_mau > mau
    or new_users + returning_users != dau
    or returning_users < 0
