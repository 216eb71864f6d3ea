{{ config(alias='hourly_metrics') }}

select * from {{ ref('hourly_metrics') }}
