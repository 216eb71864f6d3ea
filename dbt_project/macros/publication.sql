{#-
    What people read is published: after a run has built the marts and every blocking check has passed, the tables
    below are made anew from the marts' (docs/decisions, "publish by clone"). `published.<model>` is a clone by hard
    links, so it holds exactly what was checked and costs no copy; orchestration/lib/publication.py makes it.
    A reader's view says `published('user_days')` where a mart says `ref('user_days')`.
-#}


{#- The published state of a mart. Where there is none yet, or with other columns after a deployment, it
    starts as a clone of the mart. -#}
{% macro published(model_name) -%}
    {{ return(adapter.dispatch('published', 'tally')(model_name)) }}
{%- endmacro %}

{% macro default__published(model_name) -%}
    {{ return(ref(model_name)) }}
{%- endmacro %}

{% macro clickhouse__published(model_name) -%}
    {%- set built = ref(model_name) -%}
    {%- if model.resource_type == 'unit_test' -%}
        {{ return(built) }}
    {%- endif -%}
    {%- if execute and flags.WHICH in ('run', 'build') -%}
        {%- do ensure_published(built) -%}
    {%- endif -%}
    {{ return('published.' ~ model_name) }}
{%- endmacro %}


{% macro ensure_published(built) -%}
    {%- set columns -%}
        select groupArray((name, type))
        from (
            select name, type
            from system.columns
            where table = '{{ built.identifier }}' and database =
    {%- endset -%}
    {%- set order -%} order by position) {%- endset -%}
    {%- set differs = run_query(
        "select (" ~ columns ~ " '" ~ built.schema ~ "' " ~ order
        ~ ") != (" ~ columns ~ " 'published' " ~ order ~ ")"
    ) -%}
    {%- if differs.rows[0][0] -%}
        {%- do run_query(
            "create or replace table published." ~ built.identifier ~ " clone as " ~ built
        ) -%}
    {%- endif -%}
{%- endmacro %}


{#- Per model and stream the offset up to which the published state has seen the arrivals. -#}
{% macro published_watermarks() -%}
    published.watermarks
{%- endmacro %}


{#- The outcome of every quality check, a row an evaluation, kept for 30 days. The latest of each check counts:
    while that of a blocking one is a failure, the published state is held. -#}
{% macro check_results() -%}
    marts.check_results
{%- endmacro %}


{#- One row per publication, kept for 30 days; `watermark` is that of raw when its checks had passed. -#}
{% macro publications() -%}
    marts.publications
{%- endmacro %}


{#- A row for each `tally verify`, kept for 30 days. -#}
{% macro create_publication_tables() %}
    {% do run_query('create database if not exists published') %}
    {% do run_query(
        "create table if not exists published.watermarks as " ~ watermarks()
    ) %}
    {% do run_query(
        "create table if not exists " ~ check_results() ~ " ("
        ~ "check_name LowCardinality(String), asset LowCardinality(String), passed Bool, "
        ~ "blocking Bool, run_id String, message String, "
        ~ "evaluated_at DateTime64(6, 'UTC') default now64(6, 'UTC')"
        ~ ") engine = MergeTree order by (check_name, evaluated_at) "
        ~ "ttl toDateTime(evaluated_at, 'UTC') + interval 30 day"
    ) %}
    {% do run_query(
        "create table if not exists " ~ publications() ~ " ("
        ~ "run_id String, watermark Nullable(DateTime64(3, 'UTC')), tables UInt16, "
        ~ "published_at DateTime64(6, 'UTC') default now64(6, 'UTC')"
        ~ ") engine = MergeTree order by published_at "
        ~ "ttl toDateTime(published_at, 'UTC') + interval 30 day"
    ) %}
    {% do run_query(
        "create table if not exists marts.verifications ("
        ~ "differences UInt64, compared UInt64, seconds Float64, "
        ~ "verified_at DateTime64(6, 'UTC') default now64(6, 'UTC')"
        ~ ") engine = MergeTree order by verified_at "
        ~ "ttl toDateTime(verified_at, 'UTC') + interval 30 day"
    ) %}
{% endmacro %}
