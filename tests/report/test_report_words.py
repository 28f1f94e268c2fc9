import math

import pytest

from forethought.report.words import duration, interval, number, setting, time_unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (252.4, "4 min 12 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3000, "3,000"),
        (-182.3456, "−182.3"),
        (0.30000000000000004, "0.3"),
        (37.2, "37.2"),
        (0.00001234567, "1.235e-05"),
        (-12345.678, "−12,346"),
        (math.nan, "not finite"),
        (0.0, "0"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_interval():
    assert interval(-190.0, -200.5, -180.25) == "−190.0 [−200.5, −180.2]"
    assert interval(4.0, math.nan, math.nan) == "4"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (None, "none"),
        (True, "true"),
        ([200, 0.5, "x"], "[200, 0.5, x]"),
        ({}, "none"),
        (3000, "3000"),
    ],
)
def test_setting(value, text):
    assert setting(value) == text


def test_time_unit():
    assert [time_unit(span).name for span in (100, 1000, 100_000)] == ["seconds", "minutes", "hours"]
