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


{#- Every UTC date from the first that an event may have (the event contract) until today. -#}
{% macro utc_dates_until_today() -%}
    {{ return(adapter.dispatch('utc_dates_until_today', 'tally')()) }}
{%- endmacro %}

{% macro default__utc_dates_until_today() -%}
    select cast(series.date as date) as date
    from generate_series(cast('2015-01-01' as date), {{ utc_today() }}, interval '1 day') as series (date)
{%- endmacro %}

{% macro clickhouse__utc_dates_until_today() -%}
    select toDate('2015-01-01') + number as date
    from numbers(toUInt64({{ utc_today() }} - toDate('2015-01-01') + 1))
{%- endmacro %}


{#- The moment at which a UTC date begins. -#}
{% macro start_of_day(date) -%}
    {{ return(adapter.dispatch('start_of_day', 'tally')(date)) }}
{%- endmacro %}

{% macro default__start_of_day(date) -%}
    cast({{ date }} as timestamp) at time zone 'UTC'
{%- endmacro %}

{% macro clickhouse__start_of_day(date) -%}
    toDateTime64({{ date }}, 3, 'UTC')
{%- endmacro %}


{#- The time of the query in UTC, for what looks at delays; no metric does. -#}
{% macro utc_now() -%}
    {{ return(adapter.dispatch('utc_now', 'tally')()) }}
{%- endmacro %}

{% macro default__utc_now() -%}
    cast(current_timestamp at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro clickhouse__utc_now() -%}
    now('UTC')
{%- endmacro %}
