{{ config(enabled=(target.type == 'clickhouse'), meta={'dagster': {'ref': {'name': 'user_days'}}}) }}

{{ days_unlike_raw(sample=50) }}
