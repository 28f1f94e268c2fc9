"""The HTML page around a report: its contents, and the figures that plotly draws into it.

Everything is inside the one file and the page forbids itself to load anything else, so it opens without a network.
"""

import json
import re
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

import plotly.graph_objects as go

from forethought.report.style import css_variables, on_dark

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"
)


class Page:
    """Collects chapters and figures while a page is written, then puts the page together."""

    def __init__(self) -> None:
        self._figures: list[dict] = []
        self._chapters: dict[str, str] = {"summary": "Summary"}

    def chapter(self, identifier: str, title: str, body: str, *, unfolded: bool = True) -> str:
        """Return a chapter that can be folded, and note it for the contents; nothing where ``body`` is empty.

        ``identifier`` is its anchor; a second chapter of the same one gets a number. ``title`` is plain text, ``body``
        HTML.
        """
        if not body:
            return ""
        taken = sum(known.split(".")[0] == identifier for known in self._chapters)
        identifier += f".{taken + 1}" if taken else ""
        self._chapters[identifier] = title
        opening = f'<details class="chapter" id="{identifier}"{" open" if unfolded else ""}>'
        return f"{opening}<summary><h2>{escape(title)}</h2></summary>\n{body}\n</details>"

    def figure(self, drawn: go.Figure | None, label: str, caption: str = "") -> str:
        """Return the HTML that holds the place of a figure; nothing where there is no figure.

        ``label`` describes the figure to a screen reader; ``caption`` is plain text to print below it.
        """
        if drawn is None:
            return ""
        identifier = f"figure-{len(self._figures) + 1}"
        self._figures.append({"id": identifier, **json.loads(drawn.to_json(validate=False))})
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return (
            f'<figure><div class="plot" id="{identifier}" role="img" aria-label="{escape(label)}" '
            f'style="min-height:{int(drawn.layout.height)}px"></div>{below}</figure>'
        )

    def render(self, title: str, body: str) -> str:
        """Return the whole document; ``body`` is HTML with the anchor ``summary`` first, ``title`` plain text."""
        colours = {text: on_dark(text) for text in _texts(self._figures) if on_dark(text) != text}
        entries = [f'<li><a href="#{anchor}">{escape(name)}</a></li>' for anchor, name in self._chapters.items()]
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{css_variables()}
{_asset("page.css")}</style>
</head>
<body>
<nav aria-label="Contents"><ul>{"".join(entries)}</ul></nav>
<main>
{body}
<noscript><p class="warning">The figures need JavaScript, which this browser has switched off.</p></noscript>
</main>
<script>{_asset("plotly-basic.min.js")}</script>
<script type="application/json" id="figures">{_script(self._figures)}</script>
<script type="application/json" id="dark">{_script(colours)}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def with_code(text: str) -> str:
    """Return plain text as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _asset(name: str) -> str:
    return resources.files("forethought.report").joinpath("assets", name).read_text(encoding="utf-8")


def _script(value: Any) -> str:
    """Return JSON for a script element: "<" can only stand inside a string, where its escape means the same."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in nested JSON values, keys excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
