{#- A parameter of a ClickHouse parameterized view. The linter, which has no grammar for it, gets a name. -#}
{% macro parameter(name, type) -%}
    {% if var('lint', false) %}{{ name }}{% else %}{{ '{' ~ name ~ ':' ~ type ~ '}' }}{% endif %}
{%- endmacro %}
