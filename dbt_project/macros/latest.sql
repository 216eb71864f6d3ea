{#- The value that the latest event of a group carries: by `occurred_at`, then by `event_id` as text, so that
    every engine agrees. `condition` restricts which events are looked at. -#}
{% macro latest(value, condition=none) -%}
    {% if condition -%}
        argMaxIf({{ value }}, (occurred_at, toString(event_id)), {{ condition }})
    {%- else -%}
        argMax({{ value }}, (occurred_at, toString(event_id)))
    {%- endif %}
{%- endmacro %}
