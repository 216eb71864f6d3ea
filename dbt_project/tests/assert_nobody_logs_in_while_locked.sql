-- A lock lasts 15 minutes; a clock that is off by a little is no break-in.
select *
from {{ ref('lockouts') }}
where seconds_until_login < 14 * 60
