{{ config(alias='sessions') }}

select * from {{ ref('sessions') }}
