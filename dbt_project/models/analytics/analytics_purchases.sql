{{ config(alias='purchases', enabled=(target.type == 'clickhouse')) }}

select * from {{ ref('purchases') }}
