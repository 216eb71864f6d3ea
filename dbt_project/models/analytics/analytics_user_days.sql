{{ config(alias='user_days') }}

with
user_days as (
    select * from {{ ref('user_days') }} {{ latest_versions() }}
)

select * except (version)
from user_days
