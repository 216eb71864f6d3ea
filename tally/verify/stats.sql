-- What the API must answer for every user as of $as_of under $definition, in the answer's own shape.
with
days as (
    select
        user_id,
        count(*) filter (day between $as_of - 6 and $as_of) as last_7d_active_days,
        count(*) filter (day between $as_of - 29 and $as_of) as last_30d_active_days,
        count(*) filter (day between $as_of - 89 and $as_of) as last_90d_active_days,
        count(*) as lifetime_active_days,
        min(day) as first_active_date,
        max(day) as last_active_date
    from active_day
    where definition = $definition and day <= $as_of
    group by user_id
),

-- Consecutive days share the difference between the date and their rank.
login_runs as (
    select user_id, count(*) as length, max(day) as ends
    from (
        select
            user_id,
            day,
            day - cast(row_number() over (partition by user_id order by day) as integer) as run
        from active_day
        where definition = 'daily_login' and day <= $as_of
    )
    group by user_id, run
),

streaks as (
    select user_id, length
    from login_runs
    where ends >= $as_of - 1
),

games as (
    select
        user_id,
        game_type,
        count(*) as played,
        count(*) filter (outcome = 'win') as wins,
        count(*) filter (outcome = 'loss') as losses,
        count(*) filter (outcome = 'draw') as draws,
        count(*) filter (outcome = 'none') as no_outcome,
        cast(sum(bet) as bigint) as bet_amount,
        cast(sum(payout) as bigint) as payout_amount
    from played_round
    where day <= $as_of
    group by user_id, game_type
),

totals as (
    select
        user_id,
        sum(played) as played,
        sum(wins) as wins,
        sum(losses) as losses,
        sum(draws) as draws,
        sum(no_outcome) as no_outcome,
        sum(bet_amount) as bet_amount,
        sum(payout_amount) as payout_amount,
        list(
            struct_pack(
                game_type, played, wins, losses, draws, no_outcome, bet_amount, payout_amount
            )
            order by game_type
        ) as by_game
    from games
    group by user_id
),

users as (
    select distinct user_id from event
)

select
    users.user_id,
    cast(coalesce(totals.played, 0) as bigint) as total_games_played,
    coalesce(days.last_30d_active_days, 0) as last_30d_active_days,
    coalesce(days.lifetime_active_days, 0) as lifetime_active_days,
    coalesce(days.last_7d_active_days, 0) as last_7d_active_days,
    coalesce(days.last_90d_active_days, 0) as last_90d_active_days,
    coalesce(streaks.length, 0) as current_streak_days,
    cast(coalesce(totals.wins, 0) as bigint) as total_wins,
    cast(coalesce(totals.losses, 0) as bigint) as total_losses,
    cast(coalesce(totals.draws, 0) as bigint) as total_draws,
    cast(coalesce(totals.no_outcome, 0) as bigint) as total_no_outcome,
    -- Half up in integers; a division by zero is null.
    cast(
        (20000 * totals.wins + totals.wins + totals.losses)
        // nullif(2 * (totals.wins + totals.losses), 0) as bigint
    ) / 10000 as win_rate,
    cast(coalesce(totals.bet_amount, 0) as bigint) as bet_amount,
    cast(coalesce(totals.payout_amount, 0) as bigint) as payout_amount,
    strftime(days.first_active_date, '%Y-%m-%d') as first_active_date,
    strftime(days.last_active_date, '%Y-%m-%d') as last_active_date,
    coalesce(totals.by_game, []) as by_game
from users
left join days on days.user_id = users.user_id
left join streaks on streaks.user_id = users.user_id
left join totals on totals.user_id = users.user_id
order by users.user_id
