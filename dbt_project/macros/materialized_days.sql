{#-
    How a mart is kept up to date on an engine that has no ledger and no order of arrival (Postgres, DuckDB):
    the `default__` side of materialization_windows.sql.

    An event, once stored, stays as it is, so a user-day has something new exactly where its number of events
    is not the one that the mart was computed from. `materialized_days` keeps that number for each mart. A run
    counts before the mart reads, and replaces the touched rows and notes the numbers in one
    transaction: readers never see a half, a run that dies changes nothing, and an event that comes between the
    count and the read is taken again by the next run. A user without any event left (erased) goes; after single
    events have gone a mart has to be built anew (`--full-refresh`).
-#}


{#- Per mart the user-days that it has, and from how many events each was computed. -#}
{% macro materialized_days() -%}
    marts.materialized_days
{%- endmacro %}


{% macro default__create_materialization_tables() %}
    create schema if not exists marts;
    create table if not exists {{ touched_user_days() }} (
        model text not null, run_id text not null,
        user_id bigint not null, date date not null, events bigint not null
    );
    create table if not exists {{ materialized_days() }} (
        model text not null, user_id bigint not null, date date not null, events bigint not null
    );
{% endmacro %}


{% macro default__open_window(leader) %}
    delete from {{ touched_user_days() }} where model = '{{ this.identifier }}';
    {% if not is_incremental() %}
        delete from {{ materialized_days() }} where model = '{{ this.identifier }}';
    {% endif %}
{% endmacro %}

{#- Two runs at once would both note the same days: the second waits here for the first to commit. -#}
{% macro postgres__open_window(leader) %}
    select pg_advisory_xact_lock(hashtext('{{ this }}'));
    {{ tally.default__open_window() }}
{% endmacro %}


{% macro default__record_touched_days() %}
    insert into {{ touched_user_days() }} (model, run_id, user_id, date, events)
    with
    counted as (
        {{ events_by_day() }}
    ),
    changed as (
        {{ changed_days('counted', this.identifier) }}
    ),
    arrived as (
        {{ events_on_days('changed') }}
    ),
    touched as (
        {{ touched_days('arrived') }}
    )
    select
        '{{ this.identifier }}',
        '{{ invocation_id }}',
        touched.user_id,
        touched.date,
        counted.events
    from touched
    inner join counted
        on touched.user_id = counted.user_id and touched.date = counted.date;
    {% if is_incremental() %}
        delete from {{ this }}
        where user_id not in (select user_id from {{ accepted_events() }});
        delete from {{ materialized_days() }}
        where
            model = '{{ this.identifier }}'
            and user_id not in (select user_id from {{ accepted_events() }});
    {% endif %}
{% endmacro %}


{% macro default__close_window() %}
    delete from {{ materialized_days() }}
    where model = '{{ this.identifier }}' and (user_id, date) in {{ touched_in_window().days }};
    insert into {{ materialized_days() }} (model, user_id, date, events)
    select
        model,
        user_id,
        date,
        events
    from {{ touched_user_days() }}
    where {{ is_current_window() }};
{% endmacro %}


{% macro default__window_version() -%}
    cast(extract(epoch from current_timestamp) * 1000000 as bigint)
{%- endmacro %}


{% macro default__arrivals_past_watermarks(model_names) -%}
    with
    counted as (
        {{ events_by_day() }}
    )

    {% for model_name in model_names %}
        select
            user_id,
            date as occurred_date,
            '' as round_id
        from ({{ changed_days('counted', model_name) }}) as changed
        {% if not loop.last %}union all{% endif %}
    {% endfor %}
{%- endmacro %}


{% macro default__is_in_a_round_of_this_run(touched) -%}
    {{ is_in_a_round_of_touched_day(touched) }}
{%- endmacro %}


{#- user_id, date and the number of accepted events. -#}
{% macro events_by_day() -%}
    select
        user_id,
        {{ utc_date('occurred_at') }} as date,
        count(*) as events
    from {{ accepted_events() }}
    group by user_id, {{ utc_date('occurred_at') }}
{%- endmacro %}


{#- The user-days whose number of events is not the one that a model was computed from. `counted`: a CTE of
    events_by_day. -#}
{% macro changed_days(counted, model_name) -%}
    select
        {{ counted }}.user_id,
        {{ counted }}.date
    from {{ counted }}
    left join (
        select
            user_id,
            date,
            events
        from {{ materialized_days() }}
        where model = '{{ model_name }}'
    ) as seen
        on {{ counted }}.user_id = seen.user_id and {{ counted }}.date = seen.date
    where seen.events is null or seen.events != {{ counted }}.events
{%- endmacro %}


{#- The accepted events on the given user-days, as arrivals: user_id, occurred_date, round_id. -#}
{% macro events_on_days(days) -%}
    select
        user_id,
        {{ utc_date('occurred_at') }} as occurred_date,
        round_id
    from {{ accepted_events() }}
    where (user_id, {{ utc_date('occurred_at') }}) in (select user_id, date from {{ days }})
{%- endmacro %}
