import pytest

from tests.training.short_runs import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    train(path)
    return path
