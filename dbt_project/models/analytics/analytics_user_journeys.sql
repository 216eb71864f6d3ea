{{ config(alias='user_journeys', enabled=(target.type == 'clickhouse')) }}

select * from {{ ref('user_journeys') }}
