with
ledger as (
    select * from {{ source('raw', 'ingest_ledger') }} {{ latest_versions() }}
)

select
    stream,
    toString(kind) as kind,
    first_offset,
    last_offset,
    last_offset - first_offset + 1 as offsets,
    accepted,
    dead,
    newest_appended_at,
    stored_at,
    dateDiff('millisecond', newest_appended_at, stored_at) / 1000 as lag_seconds
from ledger
