{#- The quantile of the values that are there, exact: the higher of two middle ones; null for none. -#}
{% macro exact_quantile(level, value) -%}
    quantileExactOrNull({{ level }})({{ value }})
{%- endmacro %}
