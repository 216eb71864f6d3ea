{#- Follows a relation of which only the latest version of each row is to be read. -#}
{% macro latest_versions() -%}
    {{ return(adapter.dispatch('latest_versions', 'tally')()) }}
{%- endmacro %}

{% macro default__latest_versions() -%}
{%- endmacro %}

{% macro clickhouse__latest_versions() -%}
    final
{%- endmacro %}
