{{ config(tags=['deep']) }}

with
neighbours as (
    select
        *,
        lag(ended_at, 1, started_at - interval 1 day) over (
            partition by user_id order by session_number
        ) as previous_ended_at
    from {{ ref('sessions') }}
)

select *
from neighbours
where previous_ended_at >= started_at - interval 30 minute or ended_at < started_at
