"""The quality of the data as Great Expectations suites, in code.

`suite` has the types, `raw`, `marts` and `play` what is expected, `catalogue` all of it, and
`engine` runs it. Only `engine` imports Great Expectations, and only when it validates: the import
costs 6 s of CPU and 256 MB.
"""
