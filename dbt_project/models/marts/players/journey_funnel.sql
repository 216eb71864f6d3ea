{{ config(materialized='view') }}

with
counts as (
    select
        assumeNotNull({{ utc_date('signed_up_at') }}) as date,
        count() as signed_up,
        countIf(first_login_at is not null) as logged_in,
        countIf(first_login_at is not null and first_round_at is not null) as played,
        countIf(
            first_login_at is not null and first_round_at is not null
            and first_purchase_at is not null
        ) as purchased
    from {{ ref('user_journeys') }}
    where signed_up_at is not null
    group by date
)

select
    *,
    {{ ratio('logged_in', 'signed_up') }} as login_rate,
    {{ ratio('played', 'signed_up') }} as play_rate,
    {{ ratio('purchased', 'signed_up') }} as purchase_rate
from counts
