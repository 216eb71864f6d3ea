-- How old the newest batch was when it became readable, and how long the oldest batch that is not
-- published waits. One row.
with
batches as (
    select
        ledger.stored_at as stored_at,
        ledger.newest_appended_at as newest_appended_at,
        toInt64(ledger.last_offset) > coalesce(seen.to_offset, -1) as is_waiting
    from {{ source('raw', 'ingest_ledger') }} as ledger
    left join (
        select * from ({{ least_watermark(['user_days', 'user_game_days'], published_watermarks()) }})
    ) as seen on ledger.stream = seen.stream
    where ledger.kind = 'stored'
)

select
    if(
        count() = 0,
        null,
        dateDiff('second', argMax(newest_appended_at, stored_at), max(stored_at))
    ) as ingest_delay_seconds,
    if(
        countIf(is_waiting) = 0, 0, dateDiff('second', minIf(stored_at, is_waiting), {{ utc_now() }})
    ) as publication_delay_seconds
from batches
