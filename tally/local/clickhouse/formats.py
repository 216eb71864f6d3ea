"""What the HTTP interface has to know of output formats: how they can be cut and sent."""

# The output of these is that of the blocks one after another, so it goes out as it is made.
_STREAMED = (
    "Native",
    "RowBinary",
    "TabSeparated",
    "TSV",
    "TabSeparatedRaw",
    "TSVRaw",
    "Raw",
    "CSV",
    "TSKV",
    "JSONEachRow",
    "JSONLines",
    "NDJSON",
    "JSONStringsEachRow",
    "JSONCompactEachRow",
    "JSONCompactStringsEachRow",
    "LineAsString",
    "RawBLOB",
)
# These have a frame around all rows and can be large: the engine writes them to a file first.
_FRAMED = (
    "TabSeparatedWithNames",
    "TSVWithNames",
    "TabSeparatedWithNamesAndTypes",
    "TSVWithNamesAndTypes",
    "CSVWithNames",
    "CSVWithNamesAndTypes",
    "RowBinaryWithNames",
    "RowBinaryWithNamesAndTypes",
    "JSONCompactEachRowWithNames",
    "JSONCompactEachRowWithNamesAndTypes",
    "JSON",
    "JSONStrings",
    "JSONCompact",
    "JSONCompactStrings",
    "JSONColumns",
    "JSONCompactColumns",
    "JSONColumnsWithMetadata",
    "JSONObjectEachRow",
    "Arrow",
    "ArrowStream",
    "Parquet",
    "ORC",
    "Avro",
    "Values",
    "SQLInsert",
    "XML",
)
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TSVWithNames": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONStrings": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONCompactStrings": "application/json; charset=UTF-8",
    "JSONColumnsWithMetadata": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONLines": "application/x-ndjson; charset=UTF-8",
    "NDJSON": "application/x-ndjson; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNames": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "ORC": "application/octet-stream",
    "Avro": "application/octet-stream",
}
# The engine takes names of formats in any case.
_SPELLING = {name.lower(): name for name in (*_STREAMED, *_FRAMED)}


def canonical(name: str) -> str:
    """The name as ClickHouse spells it, where it is one that matters here."""
    return _SPELLING.get(name.lower(), name)


def is_streamed(name: str) -> bool:
    """Whether pieces of the output can be sent one after another."""
    return name in _STREAMED


def is_framed(name: str) -> bool:
    """Whether the output is one whole and may be large."""
    return name in _FRAMED


def content_type(name: str) -> str:
    """The Content-Type of an answer in that format."""
    return _CONTENT_TYPES.get(name, "text/plain; charset=UTF-8")
