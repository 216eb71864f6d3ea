{#- The UTC calendar date of a timestamp: the only definition of a day. -#}
{% macro utc_date(timestamp) -%}
    {{ return(adapter.dispatch('utc_date', 'tally')(timestamp)) }}
{%- endmacro %}

{% macro default__utc_date(timestamp) -%}
    cast({{ timestamp }} at time zone 'UTC' as date)
{%- endmacro %}

{% macro clickhouse__utc_date(timestamp) -%}
    toDate({{ timestamp }}, 'UTC')
{%- endmacro %}


{#- Today's date in UTC, at the time of the query. -#}
{% macro utc_today() -%}
    {{ return(adapter.dispatch('utc_today', 'tally')()) }}
{%- endmacro %}

{% macro default__utc_today() -%}
    cast(current_timestamp at time zone 'UTC' as date)
{%- endmacro %}

{% macro clickhouse__utc_today() -%}
    toDate(now('UTC'), 'UTC')
{%- endmacro %}
