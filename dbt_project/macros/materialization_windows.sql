{#-
    Which arrivals each touched-days model has seen, and which a run of it takes.

    A window is, for one model and one run, the half-open range (from_offset, to_offset] of each stream.
    It is opened before the model reads and moves the model's watermark after its rows are in place, so a run
    that dies half way leaves the watermark where it was and the next run takes the same arrivals again. The ledger is
    written after its batch is readable, so nothing at or below to_offset can still appear.
    The engines without a ledger have `default__` versions of these macros in materialized_days.sql.
-#}
{% macro materialization_windows() -%}
    marts.materialization_windows
{%- endmacro %}


{#- The user-days that each run recomputed, kept for 30 days. A run asks for its own a dozen times: at the usual
    8,192 rows a granule two new events read 100,000 rows of other runs, when merges had put them together. -#}
{% macro touched_user_days() -%}
    marts.touched_user_days
{%- endmacro %}


{#- All events of the rounds that have one on these days: looked up once for the models of a run that take the
    same window. Only that run reads them; they are kept for a day. -#}
{% macro touched_round_events() -%}
    marts.touched_round_events
{%- endmacro %}


{#- Arrivals that a backfill asks the marts to take again, kept for 30 days. They are written while no run
    is under way (orchestration/lib/backfill.py): a model takes those that are newer than the window that it
    closed last. -#}
{% macro requested_arrivals() -%}
    marts.requested_arrivals
{%- endmacro %}


{#- Per model and stream the offset up to which the model is materialized; read the latest versions. -#}
{% macro watermarks() -%}
    marts.watermarks
{%- endmacro %}


{% macro create_materialization_tables() %}
    {% if execute and flags.WHICH in ('run', 'build', 'test', 'docs', 'show') %}
        {{ return(adapter.dispatch('create_materialization_tables', 'tally')()) }}
    {% endif %}
{% endmacro %}

{% macro clickhouse__create_materialization_tables() %}
    {% do run_query('create database if not exists marts') %}
    {% do run_query(
        "create table if not exists " ~ materialization_windows() ~ " ("
        ~ "model LowCardinality(String), run_id String, version UInt64, "
        ~ "stream LowCardinality(String), from_offset Int64, to_offset Int64, "
        ~ "opened_at DateTime default now()"
        ~ ") engine = MergeTree order by (model, run_id) ttl opened_at + interval 30 day"
    ) %}
    {% do run_query(
        "alter table " ~ materialization_windows()
        ~ " add column if not exists recorded_by LowCardinality(String) default toString(model)"
    ) %}
    {% do run_query(
        "create table if not exists " ~ touched_user_days() ~ " ("
        ~ "model LowCardinality(String), run_id String, user_id UInt64, date Date, "
        ~ "recorded_at DateTime default now()"
        ~ ") engine = MergeTree order by (model, run_id, user_id, date) "
        ~ "ttl recorded_at + interval 30 day settings index_granularity = 256"
    ) %}
    {% do run_query(
        "alter table " ~ touched_user_days()
        ~ " add column if not exists has_arrivals Bool default true after date"
    ) %}
    {% do run_query(
        "create table if not exists " ~ touched_round_events() ~ " ("
        ~ "model LowCardinality(String), run_id String, user_id UInt64, round_id String, "
        ~ "occurred_at DateTime64(3, 'UTC'), event_id UUID, round_state LowCardinality(String), "
        ~ "game_type LowCardinality(String), bet Int64, payout Int64, is_demo Bool, "
        ~ "recorded_at DateTime default now()"
        ~ ") engine = MergeTree order by (model, run_id, user_id, round_id) "
        ~ "ttl recorded_at + interval 1 day settings index_granularity = 256"
    ) %}
    {% do run_query(
        "create table if not exists " ~ requested_arrivals() ~ " ("
        ~ "version UInt64, user_id UInt64, occurred_date Date, round_id String"
        ~ ") engine = MergeTree order by version "
        ~ "ttl toDateTime(intDiv(version, 1000000), 'UTC') + interval 30 day"
    ) %}
    {% do run_query(
        "create table if not exists " ~ watermarks() ~ " ("
        ~ "model LowCardinality(String), stream LowCardinality(String), to_offset Int64, "
        ~ "version UInt64, materialized_at DateTime64(3, 'UTC') default now64(3, 'UTC')"
        ~ ") engine = ReplacingMergeTree(version) order by (model, stream)"
    ) %}
    {% do create_publication_tables() %}
{% endmacro %}


{#- Opens the window of this run: from the model's watermark to the end of the ledger, or to where a window
    that the run opened before ends. `leader`: a model that this one comes after. Where the leader has closed the
    very same window in this run, this model takes what the leader recorded. That is decided here, once: later it might
    look otherwise. -#}
{% macro open_window(leader=none) %}
    {{ return(adapter.dispatch('open_window', 'tally')(leader)) }}
{% endmacro %}

{% macro clickhouse__open_window(leader) %}
    insert into {{ materialization_windows() }}
        (model, run_id, version, stream, from_offset, to_offset, recorded_by)
    with
    known as (
        select
            stream,
            toInt64(-1) as seen_offset,
            toInt64(max(last_offset)) as ledger_offset,
            toInt64(9223372036854775807) as run_offset
        from {{ source('raw', 'ingest_ledger') }}
        group by stream
        {% if is_incremental() %}
            union all
            select
                stream,
                to_offset,
                to_offset,
                toInt64(9223372036854775807)
            from {{ watermarks() }} final
            where model = '{{ this.identifier }}'
        {% endif %}
        union all
        select
            stream,
            toInt64(-1),
            toInt64(-1),
            to_offset
        from {{ materialization_windows() }}
        where run_id = '{{ invocation_id }}'
    ),
    opened as (
        select
            stream,
            max(seen_offset) as from_offset,
            greatest(max(seen_offset), least(max(ledger_offset), min(run_offset))) as to_offset
        from known
        group by stream
        having max(ledger_offset) >= 0
    )
    select
        '{{ this.identifier }}',
        '{{ invocation_id }}',
        toUnixTimestamp64Micro(now64(6)),
        stream,
        from_offset,
        to_offset,
        {% if leader and is_incremental() -%}
            if({{ is_window_of(leader, 'opened') }}, '{{ leader }}', '{{ this.identifier }}')
        {%- else -%}
            '{{ this.identifier }}'
        {%- endif %}
    from opened
{% endmacro %}


{#- Whether a model that has recorded its touched days in this run, and closed its window, has done so for the
    window `opened`, and no backfill asks this model for more. -#}
{% macro is_window_of(leader, opened) -%}
    {%- set of_leader = "model = '" ~ leader ~ "' and run_id = '" ~ invocation_id ~ "'" -%}
    (
        select arraySort(groupArray((toString(stream), from_offset, to_offset))) from {{ opened }}
    ) = (
        select arraySort(groupArray((toString(stream), from_offset, to_offset)))
        from {{ materialization_windows() }}
        where {{ of_leader }}
    )
    and (select count() from {{ touched_user_days() }} where {{ of_leader }}) > 0
    and (
        select count()
        from {{ watermarks() }}
        where
            model = '{{ leader }}'
            and version = (select max(version) from {{ materialization_windows() }} where {{ of_leader }})
    ) > 0
    and (select count() from ({{ arrivals_requested() }})) = 0
{%- endmacro %}


{#- Closes it: the model has now seen all of the window. -#}
{% macro close_window() %}
    {{ return(adapter.dispatch('close_window', 'tally')()) }}
{% endmacro %}

{% macro clickhouse__close_window() %}
    insert into {{ watermarks() }} (model, stream, to_offset, version)
    select
        model,
        stream,
        to_offset,
        version
    from {{ materialization_windows() }}
    where {{ is_current_window() }}
{% endmacro %}


{% macro is_current_window() -%}
    model = '{{ this.identifier }}' and run_id = '{{ invocation_id }}'
{%- endmacro %}


{#- The version of the rows that this run appends: the server's time when its window was opened. A later
    run has read at least as much, so the highest version of a row is always the best informed. -#}
{% macro window_version() -%}
    {{ return(adapter.dispatch('window_version', 'tally')()) }}
{%- endmacro %}

{% macro clickhouse__window_version() -%}
    assumeNotNull(toUInt64((select max(version) from {{ materialization_windows() }} where {{ is_current_window() }})))
{%- endmacro %}


{#- Writes down the user-days that this run has to recompute: none where it reads everything anyway, or where
    they are recorded already. On ClickHouse those of the arrivals, and `record_further_days` the others. -#}
{% macro record_touched_days() %}
    {{ return(adapter.dispatch('record_touched_days', 'tally')()) }}
{% endmacro %}

{% macro clickhouse__record_touched_days() %}
    {% if is_incremental() %}
        insert into {{ touched_user_days() }} (model, run_id, user_id, date, has_arrivals)
        select distinct
            '{{ this.identifier }}',
            '{{ invocation_id }}',
            user_id,
            occurred_date,
            true
        from ({{ arrivals_to_record() }})
    {% else %}
        select 1
    {% endif %}
{% endmacro %}


{#- Writes down the whole histories of the rounds that have an event on the recorded days; `further`: on those of
    record_further_days. The engines without windows look rounds up in each model. -#}
{% macro record_round_events(further=false) %}
    {{ return(adapter.dispatch('record_round_events', 'tally')(further)) }}
{% endmacro %}

{% macro default__record_round_events(further) %}
{% endmacro %}

{% macro clickhouse__record_round_events(further) %}
    {% if is_incremental() %}
        {%- set columns -%}
            user_id, round_id, occurred_at, event_id, round_state, game_type, bet, payout, is_demo
        {%- endset %}
        {%- set days = touched_where(is_current_window() ~ (' and not has_arrivals' if further else ' and has_arrivals')) %}
        insert into {{ touched_round_events() }} (model, run_id, {{ columns }})
        select
            '{{ this.identifier }}',
            '{{ invocation_id }}',
            {{ columns }}
        from {{ accepted_round_events() }}
        where {{ is_in_a_round_of_touched_day(days) }}
    {% endif %}
{% endmacro %}


{#- Writes down the other days of the rounds that arrived: see `touched_days`. -#}
{% macro record_further_days() %}
    {{ return(adapter.dispatch('record_further_days', 'tally')()) }}
{% endmacro %}

{% macro default__record_further_days() %}
{% endmacro %}

{% macro clickhouse__record_further_days() %}
    {% if is_incremental() %}
        insert into {{ touched_user_days() }} (model, run_id, user_id, date, has_arrivals)
        select distinct
            '{{ this.identifier }}',
            '{{ invocation_id }}',
            user_id,
            {{ utc_date('occurred_at') }} as date,
            false
        from {{ touched_round_events() }}
        where
            {{ is_current_window() }}
            and (user_id, round_id) in (select user_id, round_id from ({{ arrivals_to_record() }}))
            and (user_id, date) not in {{ touched_where(is_current_window()).days }}
    {% endif %}
{% endmacro %}


{#- The arrivals that this run takes, unless another model has recorded for this one. -#}
{% macro arrivals_to_record() -%}
    select *
    from ({{ arrivals_in_window() }})
    where {{ recorded_by() }} = '{{ this.identifier }}'
{%- endmacro %}


{#- The touched days of this run, for the macros of player_days.sql. -#}
{% macro touched_in_window() %}
    {{ return(adapter.dispatch('touched_in_window', 'tally')()) }}
{% endmacro %}

{% macro default__touched_in_window() %}
    {{ return(touched_where(is_current_window())) }}
{% endmacro %}

{% macro clickhouse__touched_in_window() %}
    {% set recorded = 'model = ' ~ recorded_by() ~ " and run_id = '" ~ invocation_id ~ "'" %}
    {% set touched = touched_where(recorded) %}
    {% do touched.update({
        'round_events': '(select * from ' ~ touched_round_events() ~ ' where ' ~ recorded ~ ') as round_events'
    }) %}
    {{ return(touched) }}
{% endmacro %}

{% macro touched_where(condition) %}
    {% set recorded = touched_user_days() ~ " where " ~ condition %}
    {{ return({
        'users': '(select user_id from ' ~ recorded ~ ')',
        'days': '(select user_id, date from ' ~ recorded ~ ')',
        'first_date': '(select min(date) from ' ~ recorded ~ ')',
        'last_date': '(select max(date) from ' ~ recorded ~ ')',
    }) }}
{% endmacro %}


{#- The model whose records this one uses in this run: its own, or those of the leader of its window. -#}
{% macro recorded_by() -%}
    (select max(toString(recorded_by)) from {{ materialization_windows() }} where {{ is_current_window() }})
{%- endmacro %}


{#- The arrivals that this run takes: user_id, occurred_date, round_id; new ones, and those that a backfill
    asks for. The join says which; the bounds of
    the offsets are for the primary index, which the join alone would not use: each run read every arrival
    that there ever was, six times. -#}
{% macro arrivals_in_window() -%}
    select
        arrivals.user_id,
        arrivals.occurred_date,
        arrivals.round_id
    from {{ source('raw', 'arrivals') }} as arrivals
    inner join ({{ current_window() }}) as taken on arrivals.stream = taken.stream
    where
        arrivals.stream in (select stream from ({{ current_window() }}))
        and arrivals.offset >= (select toUInt64(greatest(min(from_offset), 0)) from ({{ current_window() }}))
        and arrivals.offset <= (select toUInt64(greatest(max(to_offset), 0)) from ({{ current_window() }}))
        and arrivals.offset > taken.from_offset
        and arrivals.offset <= taken.to_offset
    union all
    {{ arrivals_requested() }}
{%- endmacro %}


{#- Those that a backfill asks for and this model has not taken. -#}
{% macro arrivals_requested() -%}
    select
        user_id,
        occurred_date,
        round_id
    from {{ requested_arrivals() }}
    where version > (select max(version) from {{ watermarks() }} where model = '{{ this.identifier }}')
{%- endmacro %}


{#- The streams of this run's window that have something new. -#}
{% macro current_window() -%}
    select
        stream,
        from_offset,
        to_offset
    from {{ materialization_windows() }}
    where {{ is_current_window() }} and to_offset > from_offset
{%- endmacro %}


{#- Restricts accepted events to the whole histories of the rounds that this run has to recompute. -#}
{% macro is_in_a_round_of_this_run(touched) -%}
    {{ return(adapter.dispatch('is_in_a_round_of_this_run', 'tally')(touched)) }}
{%- endmacro %}

{% macro clickhouse__is_in_a_round_of_this_run(touched) -%}
    {{ is_of_rounds('(select user_id, round_id from (' ~ arrivals_in_window() ~ ") where round_id != '')") }}
{%- endmacro %}


{#- The arrivals that at least one of the models has not seen. -#}
{% macro arrivals_past_watermarks(model_names) -%}
    {{ return(adapter.dispatch('arrivals_past_watermarks', 'tally')(model_names)) }}
{%- endmacro %}

{% macro clickhouse__arrivals_past_watermarks(model_names) -%}
    select
        user_id,
        occurred_date,
        round_id
    from {{ source('raw', 'arrivals') }}
    where
        toInt64(offset) > transform(
            toString(stream),
            (select arrayPushBack(arraySort(groupArray((toString(stream), to_offset))).1, '') from ({{ least_watermark(model_names) }})),
            (select arrayPushBack(arraySort(groupArray((toString(stream), to_offset))).2, toInt64(-1)) from ({{ least_watermark(model_names) }})),
            toInt64(-1)
        )
{%- endmacro %}


{#- Per stream the least offset that all the models have seen; a stream that one has not seen is absent. -#}
{% macro least_watermark(model_names, watermarks=none) -%}
    select
        stream,
        min(to_offset) as to_offset
    from {{ watermarks or 'marts.watermarks' }} final
    where model in ('{{ model_names | join("', '") }}')
    group by stream
    having count() = {{ model_names | length }}
{%- endmacro %}


{#- What the hooks of a mart read and its own text does not name: dbt wants to know of it from there. -#}
{% macro read_by_hooks() -%}
    {{ return(adapter.dispatch('read_by_hooks', 'tally')()) }}
{%- endmacro %}

{% macro default__read_by_hooks() -%}
    {{ accepted_events() }}
{%- endmacro %}

{% macro clickhouse__read_by_hooks() -%}
    {{ source('raw', 'arrivals') }} {{ source('raw', 'events') }} {{ source('raw', 'round_events') }}
    {{- ' ' ~ source('raw', 'ingest_ledger') }}
{%- endmacro %}
