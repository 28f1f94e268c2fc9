"""The documentation as a site of plain files: ``pip install -e '.[docs]' && python docs/build.py [FOLDER]``.

The pages of this folder, the first-steps notebook, and an API reference that pdoc makes of the docstrings. Whatever
pdoc warns of, a public name that is missing and a link that leads nowhere end the build.
"""

import importlib
import json
import re
import shutil
import sys
import warnings
from html import escape
from pathlib import Path
from urllib.parse import unquote

import markdown2
import pdoc

import forethought

ROOT = Path(__file__).parents[1]
MODULES = (
    "forethought",
    "forethought.types",
    "forethought.errors",
    "forethought.data",
    "forethought.exporting",
    "forethought.numpy_policy",
    "forethought.envs",
    "forethought.envs.functional",
    "forethought.replay.ring",
    "forethought.models.base",
    "forethought.models.ensemble",
    "forethought.models.fit",
    "forethought.models.oracle",
    "forethought.models.tabular",
    "forethought.imagine",
    "forethought.planning.planner",
    "forethought.planning.guides",
    "forethought.planning.shooting",
    "forethought.planning.cem",
    "forethought.planning.mppi",
    "forethought.diagnostics",
    "forethought.agents.base",
    "forethought.agents.ensemble",
    "forethought.agents.free.sac",
    "forethought.agents.dyna.mbpo",
    "forethought.agents.control.planning",
    "forethought.agents.control.pets",
    "forethought.training.config",
    "forethought.training.progress",
)
EXTRAS = ["fenced-code-blocks", "tables", "header-ids", "cuddled-lists", "code-friendly"]
STYLE = """
body { max-width: 62rem; margin: 0 auto; padding: 1rem; font: 16px/1.55 system-ui, sans-serif }
:root { color-scheme: light dark }
pre { padding: .8rem; overflow-x: auto; background: color-mix(in srgb, currentColor 7%, transparent) }
code { font-size: .9em } img { max-width: 100%; background: white }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { padding: .3rem .7rem; border-bottom: 1px solid #8886; text-align: left; vertical-align: top }
nav { border-bottom: 1px solid #8886; padding-bottom: .5rem }
"""


def build(folder: Path) -> list[str]:
    """Write the site; returns what is wrong with it."""
    shutil.rmtree(folder, ignore_errors=True)
    write_pages(folder)
    found = write_reference(folder / "api")
    return found + dead_links(folder)


def write_pages(folder: Path) -> None:
    """Every page beside where its links expect it, the README as the first one."""
    sources = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sources}
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        texts[notebook.relative_to(ROOT)] = as_markdown(json.loads(notebook.read_text(encoding="utf-8")))
    decisions = [path for path in texts if path.parent.name == "decisions"]
    listed = "\n".join(f"- [{texts[path].splitlines()[0].lstrip('# ')}]({path.name})" for path in decisions)
    texts[Path("docs/decisions/index.md")] = f"# Decisions\n\n{listed}\n"
    for path, text in texts.items():
        target = folder / ("index.html" if path.name == "README.md" else path.with_suffix(".html"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(text, "../" * (len(path.parts) - 1)), encoding="utf-8")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, folder / "docs")


def page(text: str, up: str) -> str:
    """A document of Markdown; ``up`` leads to the root of the site."""
    body = re.sub(
        r'href="((?!\w+:)[^"#]*)\.(?:md|ipynb)(#[^"]*)?"',
        r'href="\1.html\2"',
        str(markdown2.markdown(text, extras=EXTRAS)),
    )
    body = re.sub(r'href="((?!\w+:)[^"#]*)/"', r'href="\1/index.html"', body)
    title = escape(text.splitlines()[0].lstrip("# "))
    links = f'<a href="{up}index.html">forethought</a> · <a href="{up}api/forethought.html">API reference</a>'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><nav>{links}</nav>{body}</body></html>"
    )


def as_markdown(notebook: dict) -> str:
    """The cells of a notebook, its code in fences."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells)


def write_reference(folder: Path) -> list[str]:
    """The API reference; returns the public names that it lacks."""
    for name in forethought.__all__:  # they load themselves when asked for: pdoc looks without asking
        setattr(forethought, name, getattr(forethought, name))
    pdoc.render.configure(
        docformat="google", logo_link="../index.html", footer_text=f"forethought {forethought.__version__}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".*Import of ArrayTree failed")  # inside of optax.OptState
        modules = {name: pdoc.doc.Module(importlib.import_module(name)) for name in MODULES}
        for name, module in modules.items():
            target = folder / f"{name.replace('.', '/')}.html"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
        (folder / "index.html").write_text(pdoc.render.html_index(modules), encoding="utf-8")
        (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    text = (folder / "forethought.html").read_text(encoding="utf-8")
    return [f"the reference lacks {name}" for name in forethought.__all__ if f'id="{name}"' not in text]


def dead_links(folder: Path) -> list[str]:
    """Links of the pages whose file or heading is not there; those inside of the reference are pdoc's own."""
    texts = {path.resolve(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    found = []
    pages = {path: text for path, text in texts.items() if folder.resolve() / "api" not in path.parents}
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="((?!\w+:|//)[^"]+)"', text):
            name, _, anchor = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and f'id="{anchor}"' not in texts.get(target, "")):
                found.append(f"{path.relative_to(folder.resolve())} links to {link}, which is not there")
    return found


if __name__ == "__main__":
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site")
    faults = build(site)
    print("\n".join(faults) or f"{site / 'index.html'}")
    sys.exit(bool(faults))
