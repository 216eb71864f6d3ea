"""The migration files: their order, their checksums and their single statements."""

import hashlib
import re
from pathlib import Path

from msgspec import Struct

from tally.errors import TallyError

FOLDER = Path(__file__).parent

_NAME = re.compile(r"(?P<version>[0-9]{4})_[a-z0-9_]+\.sql")

# Whatever may contain a semicolon that ends nothing: comments, strings, quoted names.
_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


class Migration(Struct, frozen=True):
    """One file of the chain."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def split_statements(sql: str) -> list[str]:
    """The statements of a script, without its comments."""
    statements: list[str] = []
    current: list[str] = []
    position = 0
    for token in _TOKEN.finditer(sql):
        current.append(sql[position : token.start()])
        position = token.end()
        if token["quoted"]:
            current.append(token["quoted"])
        elif token["comment"]:
            current.append(" ")
        else:
            statements.append("".join(current).strip())
            current = []
    statements.append("".join([*current, sql[position:]]).strip())
    return [statement for statement in statements if statement]


def read_chain(folder: Path = FOLDER) -> list[Migration]:
    """Every migration in order.

    Raises `TallyError` where the files are not one chain 0001, 0002, ...: two files of one number
    (two heads, as after merging two branches), a gap, a name that does not fit, an empty file.
    """
    chain: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise TallyError(
                f"{path.name} is not the name of a migration.",
                hint="Name it NNNN_what_it_does.sql.",
            )
        version = int(named["version"])
        expected = len(chain) + 1
        if chain and version == chain[-1].version:
            raise TallyError(
                f"The migrations have two heads: {chain[-1].name} and {path.name}.",
                hint="Give the later one the next number.",
            )
        if version != expected:
            raise TallyError(f"Migration {expected:04d} is missing before {path.name}.")
        sql = path.read_text(encoding="utf-8")
        statements = tuple(split_statements(sql))
        if not statements:
            raise TallyError(f"{path.name} holds no statement.")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        chain.append(Migration(version, path.name, checksum, statements))
    return chain
