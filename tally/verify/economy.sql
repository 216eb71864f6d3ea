-- What players bought and what gold they hold, by the latest state of each.

create or replace table expected_purchases as
with
purchase_event as (
    select
        user_id,
        context ->> '$.purchase_id' as purchase_id,
        context ->> '$.state' as state,
        cast(context ->> '$.amount' as bigint) as amount,
        occurred_at,
        event_id
    from event
    where action_type = 'SHOP_BUY'
)

select
    user_id,
    purchase_id,
    arg_max(state, (occurred_at, event_id)) as state,
    arg_max(amount, (occurred_at, event_id)) as amount,
    min(occurred_at) as opened_at,
    max(occurred_at) as changed_at,
    cast(min(occurred_at) at time zone 'UTC' as date) as date
from purchase_event
group by all;

-- A purchase is in the hour of its latest event.
create or replace table expected_hourly_purchases as
select
    date_trunc('hour', changed_at) as hour,
    count(*) filter (state = 'success') as succeeded,
    count(*) filter (state = 'failed') as failed,
    count(*) filter (state = 'pending') as pending,
    count(distinct user_id) filter (state = 'success') as buyers,
    coalesce(cast(sum(amount) filter (state = 'success') as bigint), 0) as amount,
    if(
        succeeded + failed = 0, null,
        cast(succeeded as double) / cast(succeeded + failed as double)
    ) as success_rate
from expected_purchases
group by all;

create or replace table expected_gold_balances as
with
entry as (
    select
        user_id,
        occurred_at,
        event_id,
        cast(context ->> '$.amount' as bigint) as amount,
        cast(context ->> '$.balance_after' as bigint) as balance_after
    from event
    where action_type = 'REWARD_GRANTED'
)

select
    user_id,
    arg_max(balance_after, (occurred_at, event_id)) as balance,
    min(balance_after) as lowest_balance,
    coalesce(cast(sum(amount) filter (amount > 0) as bigint), 0) as granted,
    -coalesce(cast(sum(amount) filter (amount < 0) as bigint), 0) as taken,
    count(*) as entries,
    max(occurred_at) as changed_at
from entry
group by user_id;

create or replace table expected_gold_ledger as
select
    event_id,
    user_id,
    occurred_at,
    day as date,
    context ->> '$.reward_type' as reward_type,
    cast(context ->> '$.amount' as bigint) as amount,
    cast(context ->> '$.balance_after' as bigint) as balance_after,
    coalesce(context ->> '$.reference_id', '') as reference_id
from event
where action_type = 'REWARD_GRANTED';

-- A purchase is on the date of its first event, and of the item that its latest event names.
create or replace table expected_purchase_funnel as
with
item as (
    select
        user_id,
        context ->> '$.purchase_id' as purchase_id,
        arg_max(context ->> '$.item_id', (occurred_at, event_id)) as item_id
    from event
    where action_type = 'SHOP_BUY'
    group by all
)

select
    date,
    item_id,
    count(*) as opened,
    count(*) filter (state = 'success') as succeeded,
    count(*) filter (state = 'failed') as failed,
    count(*) filter (state = 'pending') as pending,
    count(distinct user_id) filter (state = 'success') as buyers,
    coalesce(cast(sum(amount) filter (state = 'success') as bigint), 0) as amount,
    if(
        succeeded + failed = 0, null,
        cast(succeeded as double) / cast(succeeded + failed as double)
    ) as success_rate
from expected_purchases
inner join item using (user_id, purchase_id)
group by date, item_id;
