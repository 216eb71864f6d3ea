-- Nightly, the days that a month's figures and a late event still reach; a run samples older ones.
{{ config(
    enabled=(target.type == 'clickhouse'),
    tags=['deep'],
    meta={'dagster': {'ref': {'name': 'user_days'}}},
) }}

{{ days_unlike_raw(last_days=35) }}
