"""`python -m tests.lint_exactness`: refuses SQL that depends on a clock, a zone or a sketch.

A model that asks for the time gives another answer tomorrow; a date function without a zone takes
that of the session; an approximate count is not a count. Models, tests and macros are read as they
are written, in every branch and for every target: what one target never compiles is refused too.
Jinja is taken apart by its own lexer (an expression counts as one name, and SQL inside of its
strings is read too), SQL by sqlglot's.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from sqlglot.dialects import ClickHouse
from sqlglot.tokens import Token, TokenType

PROJECT = Path(__file__).parents[1] / "dbt_project"
FOLDERS = ("models", "macros", "tests", "analyses")

# By file and function, why it is right there.
ALLOWED = {
    ("macros/dates.sql", "now"): "utc_today is the one place where a model learns what today is",
    ("macros/dates.sql", "current_timestamp"): "utc_today, on the other targets",
    ("macros/materialized_days.sql", "current_timestamp"): "the version, on the other targets",
    ("macros/publication.sql", "now64"): "when a check was evaluated or a state published",
    ("macros/materialization_windows.sql", "now"): "when a row of the bookkeeping was written",
    (
        "macros/materialization_windows.sql",
        "now64",
    ): "versions order runs; no metric reads the time",
}

_CLOCK = {
    *("now", "now64", "nowinblock", "today", "yesterday", "getdate", "sysdate", "localtime"),
    *(
        "localtimestamp",
        "current_date",
        "current_time",
        "current_timestamp",
        "curdate",
        "utctimestamp",
    ),
    *(
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "curtime",
        "utc_timestamp",
    ),
}
# Without their brackets these are calls too.
_KEYWORDS = {
    *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
}
_ZONED = re.compile(
    r"to(Date|Date32|DateTime|DateTime32|DateTime64)(OrNull|OrZero|OrDefault)?"
    r"|parseDateTime\w*"
    r"|to(StartOf\w+|LastDayOf\w+|Monday|Year|Quarter|Month|ISOYear|ISOWeek|Week|DayOf\w+)"
    r"|to(Hour|Minute|YYYYMM\w*|YearWeek|Relative\w+Num|Time)"
    r"|formatDateTime\w*|date_?trunc|date_?part|date_?name|time_bucket",
    re.IGNORECASE,
)
_APPROXIMATE = re.compile(
    r"uniq((?!Exact)[A-Z]\w*)?|approx\w*|hll\w*|hyperloglog\w*|topK\w*|count_?min\w*", re.IGNORECASE
)

_TAG = "jinja"
_TOKENIZER = ClickHouse.Tokenizer()
_ENVIRONMENT = jinja2.Environment(autoescape=True)


@dataclass(frozen=True, order=True)
class Finding:
    """A function that is refused, at a line of a file."""

    path: str
    line: int
    function: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.function}: {self.why}"


def main() -> int:
    """Print every finding; the exit code."""
    found = sorted(lint(PROJECT))
    for finding in found:
        print(finding)
    return 1 if found else 0


def lint(project: Path) -> Iterator[Finding]:
    """What is refused in the project's SQL."""
    for folder in FOLDERS:
        for path in (project / folder).rglob("*.sql"):
            name = path.relative_to(project).as_posix()
            for finding in findings(name, path.read_text(encoding="utf-8")):
                if (name, finding.function) not in ALLOWED:
                    yield finding


def findings(path: str, text: str) -> Iterator[Finding]:
    """What one file uses of the functions that this lint knows, allowed or not."""
    for first_line, sql in _statements(text):
        tokens = _TOKENIZER.tokenize(sql)
        for nth, token in enumerate(tokens):
            name = token.text.lower()
            called = nth + 1 < len(tokens) and tokens[nth + 1].token_type == TokenType.L_PAREN
            if token.token_type == TokenType.STRING or not (called or name in _KEYWORDS):
                continue
            why = _why_refused(name, token.text, _arguments(tokens[nth + 1 :]) if called else [])
            if why is not None:
                yield Finding(path, first_line + token.line - 1, name, why)


def _why_refused(name: str, written: str, arguments: Sequence[Token]) -> str | None:
    if name in _CLOCK:
        return "asks for the time: use utc_today(), or a parameter"
    if _APPROXIMATE.fullmatch(written):
        return "counts approximately: use uniqExact or count(distinct)"
    if _ZONED.fullmatch(written) and not _is_zoned(arguments):
        return "takes the session's zone: give it 'UTC', or use utc_date()"
    return None


def _is_zoned(arguments: Sequence[Token]) -> bool:
    """Whether UTC is the last argument or `at time zone`; one literal is a date of no zone."""
    words = [token.text.lower() for token in arguments]
    if len(arguments) == 1 and arguments[0].token_type == TokenType.STRING:
        return True
    return words[-2:] == [",", "utc"] or "at time zone utc" in " ".join(words)


def _arguments(tokens: Sequence[Token]) -> Sequence[Token]:
    """The tokens between the bracket that `tokens` begin with and the one that closes it."""
    depth = 0
    for nth, token in enumerate(tokens):
        depth += token.token_type == TokenType.L_PAREN
        depth -= token.token_type == TokenType.R_PAREN
        if depth == 0:
            return tokens[1:nth]
    return tokens[1:]


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The SQL of a template with the line that it begins on: first its text, then its strings."""
    sql: list[str] = []
    inside: str | None = None
    for line, kind, value in _ENVIRONMENT.lexer.tokeniter(text, None):
        if kind == "data":
            sql.append(value)
            continue
        if kind.endswith("_begin"):
            inside = kind
        if inside != "comment_begin" and kind == "string":
            piece = value[1:-1]
            # A statement may be put together of pieces, of which one ends inside of a literal.
            yield line, piece.replace("'", " ") if piece.count("'") % 2 else piece
        sql.append("\n" * value.count("\n"))
        if kind == "variable_end":
            sql.append(f" {_TAG} ")
    yield 1, "".join(sql)


if __name__ == "__main__":
    sys.exit(main())
