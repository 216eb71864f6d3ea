{#- The beginning of the UTC hour of a timestamp. -#}
{% macro utc_hour(timestamp) -%}
    {{ return(adapter.dispatch('utc_hour', 'tally')(timestamp)) }}
{%- endmacro %}

{% macro default__utc_hour(timestamp) -%}
    date_trunc('hour', {{ timestamp }} at time zone 'UTC')
{%- endmacro %}

{% macro clickhouse__utc_hour(timestamp) -%}
    toStartOfHour({{ timestamp }}, 'UTC')
{%- endmacro %}
