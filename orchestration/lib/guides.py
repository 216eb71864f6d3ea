"""The pages of docs/ as HTML, so that a link of a dashboard or an alert ends at a heading."""

import re
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parents[2] / "docs"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 2rem auto; padding: 0 1rem; max-width: 60rem; }}
body {{ font: 16px/1.5 system-ui, sans-serif; }}
pre, code {{ font: 14px/1.4 ui-monospace, monospace; }} pre {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }} th, td {{ border: 1px solid #8888; padding: .2rem .5rem; }}
:target {{ background: #fd08; }}
</style>
{body}</html>
"""


def write_guides(folder: Path) -> None:
    """Write every page into the folder, `runbooks.md` as `runbooks.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        (folder / f"{page.stem}.html").write_text(render(page.stem, text), encoding="utf-8")


def render(title: str, text: str) -> str:
    """A page of Markdown as HTML, its headings with the anchors that GitHub gives them."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(text)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inline.content))
        for child in token.children or []:
            if child.type == "link_open":
                address = str(child.attrGet("href"))
                child.attrSet("href", re.sub(r"^([\w-]+)\.md(?=#|$)", r"\1.html", address))
    return _PAGE.format(title=title, body=markdown.renderer.render(tokens, markdown.options, {}))


def anchor(heading: str) -> str:
    """The name of a heading in an address."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
