{#- The value that the latest event of a group carries: by `occurred_at`, then by `event_id` as text (of UUIDs
    ClickHouse has another order), so that every engine agrees. Events that meet `preferred` go before all
    others. -#}
{% macro latest(value, preferred=none) -%}
    {{ return(adapter.dispatch('latest', 'tally')(value, preferred)) }}
{%- endmacro %}

{% macro default__latest(value, preferred) -%}
    (array_agg(
        {{ value }}
        order by {% if preferred %}{{ preferred }} desc, {% endif %}occurred_at desc, event_id desc
    ))[1]
{%- endmacro %}

{% macro clickhouse__latest(value, preferred) -%}
    argMax(
        {{ value }},
        ({% if preferred %}{{ preferred }}, {% endif %}occurred_at, toString(event_id))
    )
{%- endmacro %}


{#- One row per key with the given columns of its latest event, and with other aggregates by name. -#}
{% macro latest_events(relation, key, columns, condition='true', preferred=none, aggregates={}) -%}
    {{ return(adapter.dispatch('latest_events', 'tally')(
        relation, key, columns, condition, preferred, aggregates
    )) }}
{%- endmacro %}

{% macro default__latest_events(relation, key, columns, condition, preferred, aggregates) -%}
    select
        {% for column in columns -%}
            {{ latest(column, preferred) }} as {{ column }},
        {% endfor -%}
        {% for name, aggregate in aggregates.items() -%}
            {{ aggregate }} as {{ name }},
        {% endfor -%}
        {{ key | join(', ') }}
    from {{ relation }}
    where {{ condition }}
    group by {{ key | join(', ') }}
{%- endmacro %}

{#- In the order of the table, where nothing has to be kept of a round: a sixth of what `argMax` of a tuple
    costs. With aggregates, one state for all columns of a group and not one for each. -#}
{% macro clickhouse__latest_events(relation, key, columns, condition, preferred, aggregates) -%}
    {% set key = key | join(', ') %}
    {%- if not aggregates %}
    select
        {{ key }},
        {{ columns | join(', ') }}
    from {{ relation }}
    where {{ condition }}
    -- A UUID as a number is in the order of its text, which the UUID itself is not.
    order by {{ key }}, {% if preferred %}{{ preferred }} desc, {% endif %}occurred_at desc, toUInt128(event_id) desc
    limit 1 by {{ key }}
    {%- else %}
    select
        {% for column in columns -%}
            latest.{{ loop.index }} as {{ column }},
        {% endfor -%}
        {% for name in aggregates -%}
            {{ name }},
        {% endfor -%}
        {{ key }}
    from (
        select
            {{ latest('(' ~ columns | join(', ') ~ ')', preferred) }} as latest,
            {% for name, aggregate in aggregates.items() -%}
                {{ aggregate }} as {{ name }},
            {% endfor -%}
            {{ key }}
        from {{ relation }}
        where {{ condition }}
        group by {{ key }}
    )
    {%- endif %}
{%- endmacro %}
