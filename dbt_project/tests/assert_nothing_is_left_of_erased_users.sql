-- A consumer that died at the wrong moment, or a restore, may have brought rows back: `tally erase` without a
-- user takes them out. It holds nothing up, because no number of anybody else is wrong by it.
{{ config(
    enabled=(target.type == 'clickhouse'),
    severity='warn',
    tags=['deep'],
    meta={'dagster': {'ref': {'name': 'user_days'}}},
) }}

-- depends_on: {{ ref('user_days') }}
with
erased as (
    select user_id from {{ source('raw', 'erased_users') }}
)

select
    '' as relation,
    user_id
from erased
where false
{% for relation in tables_of_users() %}
    union all
    select
        '{{ relation }}',
        user_id
    from {{ relation }}
    where user_id in (select user_id from erased)
{% endfor %}
