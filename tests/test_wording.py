"""Counts and lists in sentences."""

import pytest

from forethought.wording import listed, plural


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, ""), (1, "1"), (5, "1, 2, 3, 4, 5"), (6, "1, 2, 3, 4, 5 and 1 more"), (9, "1, 2, 3, 4, 5 and 4 more")],
)
def test_of_many_the_first_are_listed_and_the_others_counted(n, said):
    assert listed([str(1 + i) for i in range(n)]) == said


def test_how_many_and_what_the_others_are_can_be_said():
    assert listed(["a", "b", "c"], 1, "most of {} more") == "a and most of 2 more"


def test_one_is_no_plural():
    assert [plural(n, "seed") for n in (0, 1, 2, 1500)] == ["0 seeds", "1 seed", "2 seeds", "1,500 seeds"]
