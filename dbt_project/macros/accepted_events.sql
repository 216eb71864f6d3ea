{#-
    Where a target has its accepted events. What is counted is written once, in the macros that read these
    relations; ClickHouse reads raw itself, in the order that suits each question.
-#}


{#- Accepted events with the columns of stg_events; on ClickHouse a duplicate may still be there. -#}
{% macro accepted_events() -%}
    {{ return(adapter.dispatch('accepted_events', 'tally')()) }}
{%- endmacro %}

{% macro default__accepted_events() -%}
    {{ ref('stg_events') }}
{%- endmacro %}

{% macro clickhouse__accepted_events() -%}
    {{ source('raw', 'events') }}
{%- endmacro %}


{#- Those of them that belong to game rounds. -#}
{% macro accepted_round_events() -%}
    {{ return(adapter.dispatch('accepted_round_events', 'tally')()) }}
{%- endmacro %}

{% macro default__accepted_round_events() -%}
    (select * from {{ ref('stg_events') }} where round_id != '') as round_events
{%- endmacro %}

{% macro clickhouse__accepted_round_events() -%}
    {{ source('raw', 'round_events') }}
{%- endmacro %}


{#- Restricts accepted_round_events to whole rounds: all of `rounds`, a query of user_id and round_id, and
    maybe others of the same users. `users`: the users of `rounds`, where they are known for less. -#}
{% macro is_of_rounds(rounds, users=none) -%}
    {{ return(adapter.dispatch('is_of_rounds', 'tally')(rounds, users)) }}
{%- endmacro %}

{% macro default__is_of_rounds(rounds, users) -%}
    (user_id, round_id) in {{ rounds }}
{%- endmacro %}

{#- By four bytes of a hash, since many more rows are tested than found: of 10 M events 3.2 M against 16,000
    rounds, in 0.14 s of CPU where the pairs took 0.76 s. Where two rounds have one key, both are taken. -#}
{% macro clickhouse__is_of_rounds(rounds, users) -%}
    user_id in {{ users or '(select user_id from ' ~ rounds ~ ')' }}
    and round_key in (select toUInt32(cityHash64(round_id)) from {{ rounds }})
{%- endmacro %}


{#- The configuration that an event of a round names, of `accepted_round_events`. -#}
{% macro round_config_version() -%}
    {{ return(adapter.dispatch('round_config_version', 'tally')()) }}
{%- endmacro %}

{% macro default__round_config_version() -%}
    {{ context_text('config_version') }}
{%- endmacro %}

{% macro clickhouse__round_config_version() -%}
    config_version
{%- endmacro %}


{#- Each accepted event once, as a query, from what the target stores: raw, the export of
    `tally export`, or the system of record. -#}
{% macro stored_events() -%}
    {{ return(adapter.dispatch('stored_events', 'tally')()) }}
{%- endmacro %}

{% macro clickhouse__stored_events() -%}
    select * from {{ source('raw', 'events') }} {{ latest_versions() }}
{%- endmacro %}

{% macro duckdb__stored_events() -%}
    select * from {{ source('export', 'events') }}
{%- endmacro %}

{#- The record holds what happened, in the terms of the backend: the contract's rules that a message can
    break by its time are applied here, and those of its encoding have nothing to say. -#}
{% macro postgres__stored_events() -%}
    select
        actions.event_id,
        actions.user_id,
        actions.action_type,
        coalesce(action_types.initiator, 'user') as initiator,
        date_trunc('milliseconds', actions.occurred_at at time zone 'UTC') at time zone 'UTC'
            as occurred_at,
        cast(null as timestamptz) as client_ts,
        actions.session_id,
        actions.source,
        1 as schema_version,
        cast(actions.context as text) as context,
        coalesce(rounds.round_id, '') as round_id,
        coalesce(rounds.round_state, '') as round_state,
        coalesce(action_types.game_type, '') as game_type,
        coalesce(rounds.bet, 0) as bet,
        coalesce(rounds.payout, 0) as payout,
        coalesce(rounds.units, 0) as units,
        coalesce(rounds.is_demo, false) as is_demo,
        actions.created_at as received_at
    from {{ source('record', 'user_actions') }} as actions
    left join {{ ref('action_types') }} as action_types
        on actions.action_type = action_types.action_type
    left join lateral (
        select
            actions.context ->> 'round_id' as round_id,
            coalesce(actions.context ->> 'state', 'settled') as round_state,
            cast(actions.context ->> 'bet' as bigint) as bet,
            cast(actions.context ->> 'payout' as bigint) as payout,
            coalesce(cast(actions.context ->> 'units' as bigint), 1) as units,
            cast(actions.context ->> 'is_demo' as boolean) as is_demo
    ) as rounds
        on action_types.game_type is not null
    where
        actions.occurred_at >= timestamptz '2015-01-01 00:00:00+00'
        and actions.occurred_at <= actions.created_at + interval '5 minutes'
{%- endmacro %}
