{#- The dates from first_date to last_date, both included, for each row of `bounds`. -#}
{% macro dates_between(bounds) -%}
    {{ return(adapter.dispatch('dates_between', 'tally')(bounds)) }}
{%- endmacro %}

{% macro default__dates_between(bounds) -%}
    select cast(generate_series(first_date, last_date, interval '1 day') as date) as date
    from {{ bounds }}
{%- endmacro %}

{% macro duckdb__dates_between(bounds) -%}
    select cast(unnest(generate_series(first_date, last_date, interval '1 day')) as date) as date
    from {{ bounds }}
{%- endmacro %}

{% macro clickhouse__dates_between(bounds) -%}
    select first_date + arrayJoin(range(toUInt32(last_date - first_date + 1))) as date
    from {{ bounds }}
{%- endmacro %}


{#- The integers from `first` to `last`, both included, in the column `n`. -#}
{% macro integers(first, last) -%}
    {{ return(adapter.dispatch('integers', 'tally')(first, last)) }}
{%- endmacro %}

{% macro default__integers(first, last) -%}
    select n from generate_series({{ first }}, {{ last }}) as series (n)
{%- endmacro %}

{% macro clickhouse__integers(first, last) -%}
    select arrayJoin(range({{ first }}, {{ last }} + 1)) as n
{%- endmacro %}
