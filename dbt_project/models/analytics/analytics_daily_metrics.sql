{{ config(alias='daily_metrics') }}

select * from {{ ref('daily_metrics') }}
