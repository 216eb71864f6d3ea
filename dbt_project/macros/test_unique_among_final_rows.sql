{#- A key that is unique once superseded versions are left out. -#}
{% test unique_among_final_rows(model, key) %}
    select
        {{ key | join(', ') }},
        count() as found
    from {{ model }} final
    group by {{ key | join(', ') }}
    having found > 1
{% endtest %}
