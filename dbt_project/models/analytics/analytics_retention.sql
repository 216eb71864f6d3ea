{{ config(alias='retention') }}

select * from {{ ref('retention') }}
