"""`python -m expectations.matrix`: writes the table of docs/quality.md from the code."""

from pathlib import Path

from expectations import catalogue

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quality.md"
_BEGIN, _END = "<!-- matrix -->\n", "<!-- /matrix -->\n"


def matrix() -> str:
    """The expectations as a Markdown table."""
    rows = [
        f"| {expectation.invariant} | `{expectation.name}` | `{suite.relation}` "
        f"| {suite.when} | {'blocking' if expectation.blocking else 'warning'} |"
        for suite, expectation in catalogue.named()
    ]
    head = ["| invariant | expectation, alert | on | when | fails as |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def with_matrix(page: str) -> str:
    """The page with the table of the code in its place."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + matrix() + _END + after


if __name__ == "__main__":
    PAGE.write_text(with_matrix(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
