"""The notebook of the documentation runs from its first cell to its last."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "docs/first-steps.ipynb"


@pytest.fixture(scope="module")
def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_no_output_is_kept(cells):
    assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"]]


def test_it_runs(cells, capsys):
    names: dict = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    said = capsys.readouterr().out
    assert "after 120 steps" in said
    assert "random actions: -" in said
    assert "one episode: -" in said
    assert said.rstrip().endswith(names["found"].verdict[-1])
    assert (names["run"].path / "diagnostics.json").exists()
