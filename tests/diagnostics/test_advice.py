"""What to do about each verdict: said in one place, and possible."""

import re
from pathlib import Path

import pytest

from forethought.agents import catalog
from forethought.diagnostics import words
from forethought.diagnostics.advice import KINDS, PAGE
from forethought.training.baselines import WHAT_HELPS
from forethought.training.config import flatten, to_dict

ROOT = Path(__file__).parents[2]


TEXT = (ROOT / "docs/diagnostics.md").read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """The text of each section, in one line, by its heading."""
    parts = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)[1:]
    assert len(set(parts[::2])) == len(parts) / 2
    return dict(zip(parts[::2], (" ".join(text.split()) for text in parts[1::2]), strict=True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_the_page_says_the_same_under_the_title(kind):
    assert TEXT.startswith(f"# {PAGE}\n")
    assert sections(TEXT)[kind.title].startswith(kind.advice)
    assert kind.advised(latent=True) in sections(TEXT)[kind.title]
    assert kind.where == f"How to read the diagnostics: {kind.title}"


def test_the_warning_of_a_policy_below_its_baselines_names_a_section():
    assert "A policy below its baselines" in sections(TEXT)
    assert '"How to read the diagnostics: A policy below its baselines"' in WHAT_HELPS


def test_every_kind_that_a_verdict_can_have_is_listed():
    used = set(re.findall(r"advice\.([A-Z_]+)", Path(words.__file__).read_text(encoding="utf-8")))
    assert {vars(words.advice)[name] for name in used} == set(KINDS)
    assert len(KINDS) == 16


def test_advised_settings_exist():
    known = {name for a in catalog.ALGORITHMS for name in flatten(to_dict(catalog.find(a).load()[1]()))}
    advised = {name for kind in KINDS for name in re.findall(r"--agent\.([\w.-]+)", kind.advice + kind.latent)}
    assert len(advised) > 10
    assert {name.replace("-", "_") for name in advised} <= known
