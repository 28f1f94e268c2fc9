"""What an error says to do can be done."""

import ast
from importlib import metadata
from pathlib import Path

import pytest

import forethought
from forethought.errors import MissingExtra

SOURCE = Path(forethought.__file__).parent


class Installed:
    """The package as pip has it."""

    def __init__(self, direct_url):
        self.direct_url = direct_url

    def read_text(self, name):
        return {"direct_url.json": self.direct_url}[name]


@pytest.mark.parametrize(
    ("direct_url", "line"),
    [
        (None, "pip install 'forethought[mujoco]'"),
        (
            '{"url": "file:///home/a%20b/forethought", "dir_info": {}}',
            "pip install '/home/a b/forethought[mujoco]'",
        ),
        (
            '{"url": "file:///src/forethought", "dir_info": {"editable": true}}',
            "pip install -e '/src/forethought[mujoco]'",
        ),
        (
            '{"url": "file:///dist/forethought-0.1.0-py3-none-any.whl", "archive_info": {}}',
            "pip install 'forethought[mujoco] @ file:///dist/forethought-0.1.0-py3-none-any.whl'",
        ),
        (
            '{"url": "https://host/forethought.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}',
            "pip install 'forethought[mujoco] @ git+https://host/forethought.git@c0ffee'",
        ),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came(monkeypatch, direct_url, line):
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(direct_url))
    assert str(MissingExtra("Hopper-v5", "mujoco")) == f"Hopper-v5 needs an extra that is not installed: {line}"


def test_a_package_that_was_never_installed_is_installed_from_its_folder(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    line = str(MissingExtra("Hopper-v5", "mujoco")).split(": ")[1]
    folder = line.removeprefix("pip install -e '").removesuffix("[mujoco]'")
    with open(f"{folder}/pyproject.toml", encoding="utf-8") as project:
        assert 'name = "forethought"' in project.read()


def test_no_text_of_the_program_names_a_page_by_its_file():
    """Who installed a wheel has no such file. Comments and docstrings of modules are for readers of the source; other
    texts name pages by their titles."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        of_module = tree.body[0].value if ast.get_docstring(tree) else None
        named = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not of_module
        ]
        assert not [text for text in named if "docs/" in text], file
