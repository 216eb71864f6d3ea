-- The platform's games: what was played of each, by day and by the configuration it ran with.

create or replace table expected_daily_game_metrics as
select
    day as date,
    game_type,
    config_version,
    count(distinct user_id) as players,
    count(*) as rounds,
    cast(sum(units) as bigint) as units,
    count(*) filter (outcome = 'win') as wins,
    count(*) filter (outcome = 'loss') as losses,
    count(*) filter (outcome = 'draw') as draws,
    count(*) filter (outcome = 'none') as no_outcome,
    cast(sum(bet) as bigint) as bet_amount,
    cast(sum(payout) as bigint) as payout_amount,
    if(sum(bet) = 0, null, cast(sum(payout) as double) / cast(sum(bet) as double)) as rtp,
    1 - rtp as hold,
    cast(sum(bet) - sum(payout) as bigint) as ggr
from played_round
group by all;

create or replace table expected_game_rounds as
with
settled as (
    select *
    from round_event
    where state = 'settled'
    qualify row_number() over (
        partition by user_id, round_id order by occurred_at desc, event_id desc
    ) = 1
),

latest as (
    select *
    from round_event
    qualify row_number() over (
        partition by user_id, round_id order by occurred_at desc, event_id desc
    ) = 1
)

select
    latest.user_id,
    latest.round_id,
    latest.state,
    coalesce(settled.game_type, latest.game_type) as game_type,
    coalesce(settled.config_version, latest.config_version) as config_version,
    coalesce(settled.is_demo, latest.is_demo) as is_demo,
    latest.state = 'settled' and not latest.is_demo as is_played,
    settled.occurred_at as settled_at,
    settled.day as date,
    settled.bet as bet_amount,
    settled.payout as payout_amount,
    coalesce(settled.units, latest.units) as units,
    history.opened_at,
    history.changed_at,
    case
        when settled.round_id is null then null
        when settled.game_type = 'gacha' then 'none'
        when settled.bet = 0 then if(settled.payout > 0, 'win', 'loss')
        when settled.payout > settled.bet then 'win'
        when settled.payout < settled.bet then 'loss'
        else 'draw'
    end as outcome
from latest
inner join (
    select user_id, round_id, min(occurred_at) as opened_at, max(occurred_at) as changed_at
    from round_event
    group by all
) as history on history.user_id = latest.user_id and history.round_id = latest.round_id
left join settled on settled.user_id = latest.user_id and settled.round_id = latest.round_id;
