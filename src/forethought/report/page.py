"""The HTML page around a report: its typography, and the figures that plotly draws into it.

Everything is inside the one file and the page forbids itself to load anything else, so it opens without a network.
"""

import json
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from forethought.report.style import FONT, GRID, INK, MUTED

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"
)

_CSS = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: {INK}; font: 16px/1.55 {FONT}; -webkit-text-size-adjust: 100%; }}
main {{ max-width: 1020px; margin: 0 auto; padding: 40px 24px 72px; }}
h1 {{ font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 0.5rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; margin: 3rem 0 0.6rem; padding-top: 1.1rem; border-top: 1px solid {GRID}; }}
h3 {{ font-size: 1rem; margin: 1.8rem 0 0.5rem; overflow-wrap: anywhere; }}
p {{ margin: 0.5rem 0; max-width: 46rem; }}
.verdict {{ font-size: 1.12rem; max-width: 50rem; }}
.note, figcaption {{ color: {MUTED}; font-size: 0.88rem; max-width: 50rem; }}
figure {{ margin: 0.8rem 0 0; }}
.plot {{ width: 100%; }}
.plot.broken {{ color: #b42318; min-height: 0 !important; }}
.panels {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 1fr)); gap: 8px 20px; }}
.panels figure {{ margin: 0; min-width: 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; margin: 0.6rem 0; }}
th, td {{ text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid {GRID}; vertical-align: top; }}
th {{ font-weight: 600; color: {MUTED}; }}
thead th {{ white-space: nowrap; }}
td:first-child {{ min-width: 9.5rem; }}
td.number, th.number {{ text-align: right; white-space: nowrap; }}
td.value {{ overflow-wrap: break-word; }}
tr.changed td {{ background: #fff6e0; }}
tr.changed td:first-child {{ box-shadow: inset 3px 0 #e69f00; padding-left: 10px; }}
code, pre {{ font: 0.86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
pre {{ background: #f5f7f9; padding: 12px 14px; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }}
details {{ margin: 0.6rem 0; }}
summary {{ cursor: pointer; color: #0b5c94; }}
.key {{ display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0.4rem 0; padding: 0; font-size: 0.9rem; }}
.key li {{ list-style: none; }}
.swatch {{ flex: none; display: inline-block; width: 22px; vertical-align: 0.25em; margin-right: 7px; }}
.warning {{ border-left: 3px solid #d55e00; background: #fdf3ec; padding: 6px 12px; margin: 6px 0; max-width: 50rem; }}
video {{ display: block; max-width: 100%; min-width: min(320px, 100%); border: 1px solid {GRID}; border-radius: 6px; }}
@media (max-width: 600px) {{ main {{ padding: 24px 14px 48px; }} h1 {{ font-size: 1.5rem; }} }}
@media print {{ h2 {{ break-after: avoid; }} figure, tr {{ break-inside: avoid; }} .modebar {{ display: none; }} }}
"""

_DRAW = """
// On a touch screen a drag scrolls the page; a figure that zoomed instead would trap the finger.
const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
for (const {id, data, layout} of JSON.parse(document.getElementById("figures").textContent)) {
  const place = document.getElementById(id);
  const fail = (error) => {
    place.classList.add("broken");
    place.textContent = "This figure cannot be drawn: " + error;
  };
  try {
    Plotly.newPlot(place, data, {...layout, dragmode}, {
      responsive: true, displaylogo: false, displayModeBar: layout.showlegend !== false,
      modeBarButtons: [["toImage", "resetScale2d"]],
    }).catch(fail);
  } catch (error) { fail(error); }
}
"""


class Page:
    """Collects figures while the sections of a page are written, then puts the page together."""

    def __init__(self) -> None:
        self._figures: list[dict] = []

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
        """Return the whole document; ``body`` is HTML, ``title`` plain text."""
        # "<" can only stand inside a JSON string, where its escape means the same and cannot end the script element.
        figures = json.dumps(self._figures, separators=(",", ":")).replace("<", "\\u003c")
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<main>
{body}
<noscript><p class="warning">The figures need JavaScript, which this browser has switched off.</p></noscript>
</main>
<script>{get_plotlyjs()}</script>
<script type="application/json" id="figures">{figures}</script>
<script>{_DRAW}</script>
</body>
</html>
"""
