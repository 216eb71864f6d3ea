"""The pages of docs/ as `tally docs` serves them."""

import re
from pathlib import Path

from orchestration.lib.guides import DOCS, render, write_guides


def test_a_heading_has_the_anchor_that_a_link_names() -> None:
    page = render("x", "# Ingest: what `it` is\n\n## Two words, or three\n")
    assert '<h1 id="ingest-what-it-is">' in page
    assert '<h2 id="two-words-or-three">' in page


def test_a_link_to_a_page_leads_to_its_html_and_others_stay() -> None:
    page = render("x", "[a](events.md#b) [c](api.md) [d](decisions/0001-x.md) [e](https://f.md)")
    assert re.findall('href="([^"]+)"', page) == [
        *("events.html#b", "api.html", "decisions/0001-x.md", "https://f.md")
    ]


def test_markup_of_a_page_is_text_and_tables_are_tables() -> None:
    page = render("x", "`<script>`\n\n| a |\n|---|\n| b |\n")
    assert "<script>" not in page
    assert "<td>b</td>" in page


def test_every_page_is_written(tmp_path: Path) -> None:
    write_guides(tmp_path / "guides")
    written = {path.stem for path in (tmp_path / "guides").iterdir()}
    assert written == {path.stem for path in DOCS.glob("*.md")}
