{{ config(materialized='view') }}

with
active_days as (
    select
        date,
        min(date) over (partition by user_id) as cohort_date
    from {{ ref('user_days') }} {{ latest_versions() }}
    where is_active
),

cohorts as (
    select
        cohort_date,
        count(*) as cohort_size
    from active_days
    where date = cohort_date
    group by cohort_date
),

day_numbers as (
    {{ integers(1, retained_users_days()) }}
),

-- A day on which nobody of the cohort came back has its row too.
counts as (
    select
        cohort_date,
        cast(n as integer) as day_n,
        cohort_size,
        0 as retained
    from cohorts
    cross join day_numbers
    union all
    select
        cohort_date,
        cast(date - cohort_date as integer) as day_n,
        0 as cohort_size,
        count(*) as retained
    from active_days
    where date > cohort_date and date <= cohort_date + {{ retained_users_days() }}
    group by cohort_date, day_n
),

by_day as (
    select
        cohort_date,
        day_n,
        sum(cohort_size) as cohort_size,
        sum(retained) as retained
    from counts
    where cohort_date + day_n < {{ utc_today() }}
    group by cohort_date, day_n
)

select
    cohort_date,
    day_n,
    cast(cohort_size as bigint) as cohort_size,
    cast(retained as bigint) as retained,
    {{ retention('retained', 'cohort_size') }} as retention
from by_day
