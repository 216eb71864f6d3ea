-- Rows of a mart whose parent is missing. One row.
with
behind as (
    {{ arrivals_past_watermarks(['user_days', 'user_game_days']) }}
),

users as (
    select distinct user_id
    from {{ source('raw', 'events') }}
),

days as (
    select distinct
        user_id,
        date
    from {{ ref('user_days') }}
)

select
    (
        select uniqExact(user_id)
        from {{ ref('user_days') }}
        where user_id not in (select user_id from users)
    ) as users_without_event,
    (
        select count()
        from {{ ref('user_game_days') }} {{ latest_versions() }}
        where
            user_id not in (select user_id from behind)
            and (user_id, date) not in (select * from days)
    ) as games_without_day
