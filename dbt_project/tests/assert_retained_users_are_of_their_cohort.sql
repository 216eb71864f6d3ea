select *
from {{ ref('retention') }}
where retained > cohort_size or cohort_size = 0 or retention not between 0 and 1
