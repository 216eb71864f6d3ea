{#- A sum of integers as an integer, which Postgres and DuckDB would widen to another type. -#}
{% macro integer_sum(expression) -%}
    {{ return(adapter.dispatch('integer_sum', 'tally')(expression)) }}
{%- endmacro %}

{% macro default__integer_sum(expression) -%}
    cast(sum({{ expression }}) as bigint)
{%- endmacro %}

{% macro clickhouse__integer_sum(expression) -%}
    sum({{ expression }})
{%- endmacro %}


{#- The exact number of distinct values, whatever a server's settings make of `count(distinct)`. -#}
{% macro count_distinct(expression) -%}
    {{ return(adapter.dispatch('count_distinct', 'tally')(expression)) }}
{%- endmacro %}

{% macro default__count_distinct(expression) -%}
    count(distinct {{ expression }})
{%- endmacro %}

{% macro clickhouse__count_distinct(expression) -%}
    uniqExact({{ expression }})
{%- endmacro %}
