{#- The tables of users that this project and ingestion have: whatever has a column user_id, also a
    model of tomorrow. Relations as text, in order. -#}
{% macro tables_of_users() -%}
    {%- if not execute -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set models = graph.get('nodes', {}).values() -%}
    {%- set databases = ['raw', 'published'] + models | map(attribute='schema') | list -%}
    {%- set found = run_query(
        "select concat(database, '.', table) from system.columns where name = 'user_id'"
        ~ " and database in ('" ~ databases | unique | join("', '") ~ "')"
        ~ " and (database, table) in"
        ~ " (select database, name from system.tables where engine like '%MergeTree')"
        ~ " and concat(database, '.', table) != 'raw.erased_users' order by 1"
    ) -%}
    {{ return(found.columns[0].values()) }}
{%- endmacro %}
