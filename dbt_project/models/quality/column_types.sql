-- The columns of the tables that others read. One row per column.
select
    concat(database, '.', table) as relation,
    name as column_name,
    type as column_type,
    concat(database, '.', table, '.', name, ' ', type) as declaration
from system.columns
where
    (database, table) in (
        ('raw', 'events'),
        ('raw', 'arrivals'),
        ('raw', 'ingest_ledger'),
        ('published', 'user_days'),
        ('published', 'user_game_days')
    )
