"""ClickHouse's errors as its HTTP interface tells them: code, text and HTTP status."""

import re

# ClickHouse decides the HTTP status by the error (exceptionCodeToHTTPStatus); all others are 500.
_STATUS_OF_NAME: dict[str, int] = {
    name: status
    for status, names in {
        400: "BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE "
        "CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER "
        "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6 "
        "CANNOT_PARSE_INPUT_ASSERTION_FAILED CANNOT_PARSE_UUID DUPLICATE_COLUMN ILLEGAL_COLUMN "
        "UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE THERE_IS_NO_COLUMN TOO_DEEP_AST "
        "TOO_BIG_AST UNEXPECTED_AST_STRUCTURE SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH "
        "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
        401: "REQUIRED_PASSWORD",
        403: "UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED",
        404: "UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE "
        "UNKNOWN_DATABASE UNKNOWN_SETTING UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_FORMAT "
        "UNKNOWN_AGGREGATE_FUNCTION UNKNOWN_DATABASE_ENGINE UNKNOWN_TYPE_OF_QUERY UNKNOWN_ROLE",
        408: "TIMEOUT_EXCEEDED",
        411: "HTTP_LENGTH_REQUIRED",
        413: "QUERY_IS_TOO_LARGE",
        415: "UNSUPPORTED_MEDIA_TYPE",
        501: "NOT_IMPLEMENTED",
        503: "SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK",
    }.items()
    for name in names.split()
}

_CODE = re.compile(r"Code: (\d+)\. ")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*$")
# What chDB adds to a server's message: the error around itself, the version to some messages only,
# and the file through which the data of an INSERT went.
_ADDED = (
    (re.compile(r"(Code: \d+\. DB::Exception: )\1+"), r"\1"),
    (re.compile(r"\s*\(version [^()]*\)\s*$"), ""),
    (re.compile(r"(?: \(([A-Z0-9_]+)\) \(version [^()]*\)\.)+ \(\1\)$"), r" (\1)"),
    (re.compile(r" ?\(in file/uri [^()]*\):?"), ""),
    (re.compile(": While executing File: data for INSERT was parsed from file"), ""),
)


class ClickHouseError(Exception):
    """An error with ClickHouse's number and name, raised by the engine or by the HTTP interface."""

    def __init__(self, code: int, name: str, text: str) -> None:
        """`text` is the whole message: `Code: N. DB::Exception: ... (NAME)`."""
        super().__init__(text)
        self.code = code
        self.name = name
        self.text = text

    @classmethod
    def of(cls, code: int, name: str, message: str) -> "ClickHouseError":
        """An error that the HTTP interface itself finds."""
        return cls(code, name, f"Code: {code}. DB::Exception: {message} ({name})")

    @classmethod
    def from_engine(cls, error: Exception) -> "ClickHouseError":
        """Read the number and the name out of what the engine raised."""
        text = str(error)
        for pattern, replacement in _ADDED:
            text = pattern.sub(replacement, text)
        found = _CODE.search(text)
        if found is None:
            return cls.of(1002, "UNKNOWN_EXCEPTION", text)
        name = _NAME.search(text)
        return cls(int(found[1]), name[1] if name else "UNKNOWN_EXCEPTION", text[found.start() :])

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers with."""
        return _STATUS_OF_NAME.get(self.name, 500)

    def body(self, version: str) -> str:
        """The response's text."""
        return f"{self.text} (version {version})\n"
