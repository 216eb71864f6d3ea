"""As much of ClickHouse's grammar as the HTTP interface needs before the engine sees a statement.

What kind of statement it is, in which format it answers, and where an INSERT's data begins.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

# Comments, string literals, quoted identifiers and heredocs are single tokens, so that nothing in
# them is taken for a keyword.
_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<quoted> '(?:[^'\\]++|\\.|'')*+(?:'|\Z)
              | "(?:[^"\\]++|\\.|"")*+(?:"|\Z)
              | `(?:[^`\\]++|\\.|``)*+(?:`|\Z) )
  | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
  | (?P<word> [A-Za-z_]\w* )
  | (?P<number> \d\w* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
# A last line that is nothing but a FORMAT clause, as clients append it to every query. It spares
# the tokenizer a long IN list: 0.5 s for a million numbers.
_LAST_LINE = re.compile(rb"\s*(?P<clause>FORMAT\s+(?P<name>\w+))\s*;?\s*", re.IGNORECASE)
_DATA_GAP = re.compile(rb"[ \t\f]*(?:\r?\n)?")

# Kinds whose rows can be re-asked for without changing anything.
READ_KINDS = frozenset({"SELECT", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN", "CHECK"})
_KINDS = {"WITH": "SELECT", "FROM": "SELECT", "DESC": "DESCRIBE"}


@dataclass(frozen=True)
class Token:
    """A word in upper case, a single character, or a quoted text, which is left empty."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Statement:
    """A statement cut at its seams. Offsets count bytes of the text it was cut from."""

    kind: str
    format: str | None = None
    format_span: tuple[int, int] | None = None
    data_start: int | None = None
    source_at: int = 0
    reads_input: bool = False

    @property
    def reads(self) -> bool:
        """Whether the statement only reads, so that a GET may carry it."""
        return self.kind in READ_KINDS

    def writes_a_file(self, text: bytes) -> bool:
        """Whether the text has `INTO OUTFILE`, which over HTTP would be a file of the server."""
        return b"outfile" in text.lower() and any(
            before.text == "INTO" and after.text == "OUTFILE"
            for before, after in pairwise(tokens(text))
        )

    def with_format(self, text: bytes, clause: bytes) -> bytes:
        """The text with `clause` in the place of its FORMAT clause, and ended by its last word."""
        end = 0
        for token in tokens(text):
            end = end if token.text == ";" else token.end
        cut, resume = self.format_span or (end, end)
        return text[:cut] + clause + text[resume:end]

    def with_data_in(self, text: bytes, file: bytes) -> bytes:
        """An INSERT that takes its data from a file, whose name is given as a string literal."""
        assert self.format is not None
        assert self.format_span is not None
        head, settings = text[: self.source_at], text[self.source_at : self.format_span[0]]
        return head + b" FROM INFILE " + file + b" " + settings + b"FORMAT " + self.format.encode()


def tokens(text: bytes, start: int = 0) -> Iterator[Token]:
    """The significant tokens of `text`, from left to right, lazily."""
    for match in _TOKEN.finditer(text, start):
        group = match.lastgroup
        if group != "skip":
            plain = group in ("word", "number", "other")
            value = match[0].decode("latin-1").upper() if plain else ""
            yield Token(value, match.start(), match.end())


def parse(text: bytes) -> Statement:
    """Cut `text`, which is a statement and, for an INSERT, perhaps the beginning of its data."""
    first = next((token for token in tokens(text) if token.text != "("), None)
    if first is None:
        return Statement(kind="")
    kind = _KINDS.get(first.text, first.text)
    if kind == "INSERT":
        return _parse_insert(text, first.end)
    if b"format" not in text.lower():
        return Statement(kind)
    start = text.rstrip().rfind(b"\n") + 1
    if start and (last := _LAST_LINE.fullmatch(text, start)):
        return Statement(kind, last["name"].decode(), last.span("clause"))
    return _parse_output_format(text, kind)


def _outside_brackets(stream: Iterable[Token]) -> Iterator[Token]:
    depth = 0
    for token in stream:
        if token.text in ("(", "[", "{"):
            depth += 1
        elif token.text in (")", "]", "}"):
            depth -= 1
        elif depth == 0:
            yield token


def _parse_output_format(text: bytes, kind: str) -> Statement:
    """Find the FORMAT clause, which stands last or before SETTINGS, outside of all brackets."""
    keyword: Token | None = None
    name: Token | None = None
    for token in _outside_brackets(tokens(text)):
        if keyword is not None and name is None:
            name = token
        elif keyword is not None and name is not None and token.text in (";", "SETTINGS"):
            break
        else:
            keyword, name = (token, None) if token.text == "FORMAT" else (None, None)
    if keyword is None or name is None:
        return Statement(kind)
    return Statement(kind, text[name.start : name.end].decode(), (keyword.start, name.end))


def _parse_insert(text: bytes, start: int) -> Statement:
    """Find where the data of `INSERT INTO [TABLE|FUNCTION] name ... FORMAT name|VALUES` begins."""
    stream = _outside_brackets(tokens(text, start))
    # The name may be spelled like a keyword.
    for token in stream:
        if token.text not in ("INTO", "TABLE", "FUNCTION"):
            break
    settings_at: int | None = None
    for token in stream:
        source_at = token.start if settings_at is None else settings_at
        if token.text == "SETTINGS":
            settings_at = source_at
        if token.text in ("SELECT", "WITH"):
            return Statement("INSERT", reads_input=_calls_input(text, token.end))
        if token.text == "INFILE":
            break
        if token.text == "VALUES":
            span = (token.start, token.end)
            return Statement("INSERT", "Values", span, token.end, source_at)
        if token.text == "FORMAT":
            name = next(stream, None)
            if name is None:
                break
            gap = _DATA_GAP.match(text, name.end)
            return Statement(
                "INSERT",
                text[name.start : name.end].decode(),
                (token.start, name.end),
                gap.end() if gap else name.end,
                source_at,
            )
    return Statement("INSERT")


def _calls_input(text: bytes, start: int) -> bool:
    """Whether the table function `input`, which stands for the request's data, is read from."""
    return b"input" in text.lower() and any(
        before.text == "INPUT" and after.text == "("
        for before, after in pairwise(tokens(text, start))
    )
