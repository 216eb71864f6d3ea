{#- A key that is unique once superseded versions are left out. -#}
{% test unique_among_latest_versions(model, key) %}
    select
        {{ key | join(', ') }},
        count(*) as found
    from {{ model }} {{ latest_versions() }}
    group by {{ key | join(', ') }}
    having count(*) > 1
{% endtest %}
