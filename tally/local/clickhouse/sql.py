"""As much of ClickHouse's grammar as the HTTP interface needs before the engine sees a statement.

What kind of statement it is, in which format it answers, and where an INSERT's data begins.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Comments, string literals, quoted identifiers and heredocs are single tokens, so that nothing in
# them is taken for a keyword.
_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<quoted> '(?:[^'\\]|\\.|'')*(?:'|\Z)
              | "(?:[^"\\]|\\.|"")*(?:"|\Z)
              | `(?:[^`\\]|\\.|``)*(?:`|\Z) )
  | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
  | (?P<word> [A-Za-z_]\w* )
  | (?P<number> \d\w* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_DATA_GAP = re.compile(rb"[ \t\f]*(?:\r?\n)?")

# Kinds whose rows can be re-asked for without changing anything.
READ_KINDS = frozenset({"SELECT", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN", "CHECK"})
_KINDS = {"WITH": "SELECT", "FROM": "SELECT", "DESC": "DESCRIBE"}


@dataclass(frozen=True)
class Token:
    """A word in upper case or a single character, with where it stands in the text."""

    text: str
    quoted: bool
    start: int
    end: int


@dataclass(frozen=True)
class Statement:
    """A statement cut at its seams. Offsets count bytes of the text it was cut from."""

    kind: str
    format: str | None = None
    format_span: tuple[int, int] | None = None
    data_start: int | None = None

    @property
    def reads(self) -> bool:
        """Whether the statement only reads, so that a GET may carry it."""
        return self.kind in READ_KINDS

    def without_format(self, text: bytes) -> bytes:
        """The text without its FORMAT clause and without the semicolon after it."""
        if self.format_span is not None:
            start, end = self.format_span
            text = text[:start] + text[end:]
        return text.rstrip().rstrip(b";")


def tokens(text: bytes, start: int = 0) -> Iterator[Token]:
    """The significant tokens of `text`, from left to right, lazily."""
    for match in _TOKEN.finditer(text, start):
        if match.lastgroup == "skip":
            continue
        quoted = match.lastgroup in ("quoted", "heredoc", "tag")
        value = "" if quoted else match[0].decode("latin-1").upper()
        yield Token(value, quoted, match.start(), match.end())


def parse(text: bytes) -> Statement:
    """Cut `text`, which is a statement and, for an INSERT, perhaps the beginning of its data."""
    stream = (token for token in tokens(text) if token.text != "(")
    first = next(stream, None)
    if first is None or first.quoted:
        return Statement(kind="")
    kind = _KINDS.get(first.text, first.text)
    if kind == "INSERT":
        return _parse_insert(text, first.end)
    if b"format" not in text.lower():
        return Statement(kind)
    return _with_output_format(text, kind)


def _with_output_format(text: bytes, kind: str) -> Statement:
    """Find the FORMAT clause outside of all brackets; it stands last or before SETTINGS."""
    depth = 0
    name: str | None = None
    span: tuple[int, int] | None = None
    keyword: Token | None = None
    for token in tokens(text):
        if token.text in "([{" and not token.quoted:
            depth += 1
        elif token.text in ")]}" and not token.quoted:
            depth -= 1
        if keyword is not None and token.text[:1].isalpha():
            name, span = text[token.start : token.end].decode(), (keyword.start, token.end)
        keyword = token if depth == 0 and token.text == "FORMAT" else None
    return Statement(kind, name, span)


def _parse_insert(text: bytes, start: int) -> Statement:
    """Find where the data of `INSERT INTO [TABLE|FUNCTION] name ... FORMAT name|VALUES` begins."""
    depth = 0
    # The name of the table may be spelled like a keyword: it is the token after these.
    before_name = True
    stream = tokens(text, start)
    for token in stream:
        if token.text in ("INTO", "TABLE", "FUNCTION") and before_name:
            continue
        if before_name:
            before_name = False
            continue
        if token.text in "([{" and not token.quoted:
            depth += 1
        elif token.text in ")]}" and not token.quoted:
            depth -= 1
        elif depth:
            continue
        elif token.text in ("SELECT", "WITH", "INFILE"):
            return Statement("INSERT")
        elif token.text == "VALUES":
            return Statement("INSERT", "Values", (token.start, token.end), token.end)
        elif token.text == "FORMAT":
            name = next(stream, None)
            if name is None:
                return Statement("INSERT")
            gap = _DATA_GAP.match(text, name.end)
            return Statement(
                "INSERT",
                text[name.start : name.end].decode(),
                (token.start, name.end),
                gap.end() if gap else name.end,
            )
    return Statement("INSERT")
