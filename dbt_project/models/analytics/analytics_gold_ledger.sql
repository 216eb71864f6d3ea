{{ config(alias='gold_ledger', enabled=(target.type == 'clickhouse')) }}

select * from {{ ref('gold_ledger') }}
