with
letters as (
    select * from {{ source('raw', 'dead_letters') }} {{ latest_versions() }}
),

-- A pair in one column, as it is looked for.
replays as (
    select (stream, offset) as letter from {{ source('raw', 'dead_letter_replays') }}
)

select
    stream,
    offset,
    appended_at,
    received_at,
    toString(reason) as reason,
    error,
    length(value) as bytes,
    toBool((stream, offset) in (select letter from replays)) as is_replayed,
    toBool(replay_of != '') as is_refused_again
from letters
