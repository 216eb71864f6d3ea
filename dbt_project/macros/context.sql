{#- A field of an event's context, by the type that the event contract gives it: '' , 0 or false where absent. -#}
{% macro context_text(field) -%}
    {{ return(adapter.dispatch('context_text', 'tally')(field)) }}
{%- endmacro %}

{% macro default__context_text(field) -%}
    coalesce(cast(context as json) ->> '{{ field }}', '')
{%- endmacro %}

{% macro clickhouse__context_text(field) -%}
    JSONExtractString(context, '{{ field }}')
{%- endmacro %}

{% macro context_integer(field) -%}
    JSONExtractInt(context, '{{ field }}')
{%- endmacro %}

{% macro context_flag(field) -%}
    JSONExtractBool(context, '{{ field }}')
{%- endmacro %}

{% macro context_number(field) -%}
    JSONExtractFloat(context, '{{ field }}')
{%- endmacro %}
