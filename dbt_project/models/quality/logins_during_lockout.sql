{#- An account is locked for this long after LOGIN_LOCKED. -#}
{%- set lockout = "interval 15 minute" -%}

-- Logins of an account while it was locked. No row is the rule.
with
locks as (
    select
        user_id,
        occurred_at
    from {{ ref('stg_events') }}
    where action_type = 'LOGIN_LOCKED'
),

logins as (
    select
        user_id,
        event_id,
        occurred_at
    from {{ ref('stg_events') }}
    where action_type = 'LOGIN' and user_id in (select user_id from locks)
)

select
    logins.user_id as user_id,
    logins.event_id as event_id,
    logins.occurred_at as occurred_at,
    locks.occurred_at as locked_at
from logins
inner join locks on logins.user_id = locks.user_id
where
    logins.occurred_at > locks.occurred_at
    and logins.occurred_at < locks.occurred_at + {{ lockout }}
