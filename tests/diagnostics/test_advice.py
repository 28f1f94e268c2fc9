"""What to do about each verdict: said in one place, and possible."""

import re
from pathlib import Path

import pytest

from forethought.agents import catalog
from forethought.diagnostics import words
from forethought.diagnostics.advice import KINDS, PAGE
from forethought.training.config import flatten, to_dict

ROOT = Path(__file__).parents[2]


def anchors(page: str) -> dict[str, str]:
    """The text of each section, in one line, by the anchor that a site makes of its heading."""
    parts = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)[1:]
    slugs = [re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in parts[::2]]
    assert len(set(slugs)) == len(slugs)
    return dict(zip(slugs, (" ".join(text.split()) for text in parts[1::2]), strict=True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.anchor)
def test_the_page_says_the_same_under_the_anchor(kind):
    sections = anchors((ROOT / PAGE).read_text(encoding="utf-8"))
    assert sections[kind.anchor].startswith(kind.advice)
    assert kind.where == f"docs/diagnostics.md#{kind.anchor}"


def test_every_kind_that_a_verdict_can_have_is_listed():
    used = set(re.findall(r"advice\.([A-Z_]+)", Path(words.__file__).read_text(encoding="utf-8")))
    assert {vars(words.advice)[name] for name in used} == set(KINDS)
    assert len(KINDS) == 14


def test_advised_settings_exist():
    known = {name for a in catalog.ALGORITHMS for name in flatten(to_dict(catalog.find(a).load()[1]()))}
    advised = {name for kind in KINDS for name in re.findall(r"--agent\.([\w.-]+)", kind.advice)}
    assert len(advised) > 10
    assert {name.replace("-", "_") for name in advised} <= known
