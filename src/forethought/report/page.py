"""The HTML page around a report: its templates, its contents, and the figures that plotly draws into it.

Everything is inside the one file and the page forbids itself to load anything else, so it opens without a network.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from forethought.report.style import MOST_POINTS, css_variables, on_dark
from forethought.wording import plural


class Page:
    """Collects chapters and figures while a page is written, then puts the page together."""

    def __init__(self) -> None:
        self._figures: list[dict[str, Any]] = []
        self._chapters: list[dict[str, Any]] = []

    def chapter(self, name: str, title: str, data: Mapping[str, Any], *, unfolded: bool = True) -> None:
        """Add a chapter of the template ``name`` for the data; nothing where the template finds nothing to say.

        The name is also its anchor; a second chapter of the same one gets a number.
        """
        body = Markup(render(f"{name}.html", **data))
        if body.strip():
            taken = sum(known["anchor"].split(".")[0] == name for known in self._chapters)
            anchor = f"{name}.{taken + 1}" if taken else name
            self._chapters.append({"anchor": anchor, "title": title, "body": body, "unfolded": unfolded})

    def figure(self, drawn: go.Figure | None) -> dict[str, Any] | None:
        """Number a figure and return it as the page's script reads it; nothing where there is no figure."""
        if drawn is None:
            return None
        figure = {"id": f"figure-{len(self._figures) + 1}", **json.loads(drawn.to_json(validate=False))}
        self._figures.append(figure)
        return figure

    def render(self, summary: Mapping[str, Any]) -> str:
        """Return the whole document, which begins with the summary."""
        return render(
            "page.html",
            **summary,
            chapters=self._chapters,
            figures=self._figures,
            dark={text: on_dark(text) for text in _texts(self._figures) if on_dark(text) != text},
            css_variables=css_variables(),
            most_points=f"{MOST_POINTS:,}",
        )


def render(template: str, /, **data: Any) -> str:
    """Return a template filled with data, which is escaped."""
    return _TEMPLATES.get_template(template).render(data)


def with_code(text: str) -> Markup:
    """Return plain text as HTML, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _asset(name: str) -> str:
    return resources.files("forethought.report").joinpath("assets", name).read_text(encoding="utf-8")


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in nested JSON values, keys excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


_TEMPLATES = Environment(
    loader=PackageLoader("forethought.report"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_TEMPLATES.filters["with_code"] = with_code
_TEMPLATES.globals.update(asset=_asset, plural=plural)
_TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # and keys in their order
