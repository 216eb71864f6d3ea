{{ config(materialized='view', schema='marts') }}

{{ utc_dates_until_today() }}
