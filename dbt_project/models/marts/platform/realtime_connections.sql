{{ config(materialized='view') }}

with
steps as (
    select
        *,
        lead(is_connect, 1, true) over next_of_socket as next_is_connect,
        lead(occurred_at, 1, occurred_at) over next_of_socket as next_at,
        lead(close_code, 1, 0) over next_of_socket as next_close_code
    from {{ ref('int_connection_events') }}
    window
        next_of_socket as (
            partition by user_id, session_id, path order by occurred_at, toString(event_id)
        )
)

select
    event_id,
    user_id,
    session_id,
    path,
    toBool(path = '/api/games/ws') as is_legacy,
    occurred_at as connected_at,
    if(next_is_connect, null, next_at) as disconnected_at,
    if(next_is_connect, null, next_close_code) as close_code,
    dateDiff('second', connected_at, disconnected_at) as duration_seconds
from steps
where is_connect
