-- What the ledger says of each stream beside what is readable of it. One row per stream.
with
ranges as (
    select
        stream,
        toInt64(max(last_offset)) - toInt64(min(first_offset)) + 1 as offsets,
        sumIf(toInt64(last_offset - first_offset + 1), kind in ('stored', 'lost')) as covered,
        sumIf(toInt64(accepted), kind = 'stored') as accepted_messages,
        sumIf(toInt64(dead), kind = 'stored') as dead_messages
    from {{ source('raw', 'ingest_ledger') }} {{ latest_versions() }}
    group by stream
),

arrivals as (
    select
        stream,
        toInt64(uniqExact(offset)) as found,
        toInt64(count()) as stored,
        toInt64(max(offset)) as newest
    from {{ source('raw', 'arrivals') }}
    group by stream
),

-- Accepted, and deleted since with their user.
erased as (
    select
        stream,
        toInt64(uniqExact(offset)) as found
    from {{ source('raw', 'erased_offsets') }}
    where
        (stream, offset) not in (
            select
                stream,
                offset
            from {{ source('raw', 'arrivals') }}
            union all
            select
                stream,
                offset
            from {{ source('raw', 'dead_letters') }}
        )
    group by stream
),

dead_letters as (
    select
        stream,
        toInt64(uniqExact(offset)) as found
    from {{ source('raw', 'dead_letters') }}
    group by stream
)

select
    ranges.stream as stream,
    ranges.accepted_messages - coalesce(arrivals.found, 0) - coalesce(erased.found, 0)
        as missing_arrivals,
    coalesce(arrivals.stored, 0) - coalesce(arrivals.found, 0) as repeated_arrivals,
    ranges.dead_messages - coalesce(dead_letters.found, 0) as missing_dead_letters,
    ranges.offsets - ranges.covered as uncovered_offsets
from ranges
left join arrivals on ranges.stream = arrivals.stream
left join erased on ranges.stream = erased.stream
left join dead_letters on ranges.stream = dead_letters.stream
