{{ config(alias='user_stats') }}

select * from {{ ref('user_stats') }}
