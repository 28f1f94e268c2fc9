"""The chapter on the model, of a diagnosis that is known."""

from dataclasses import replace

import numpy as np

from faultless import HORIZON, diagnosis, with_errors
from forethought.diagnostics import findings
from forethought.report import trust, trust_figures
from forethought.report.html import render_report
from forethought.report.page import with_code
from forethought.report.read import read_run


def test_each_sentence_of_the_verdict_has_its_advice_and_its_place_in_the_docs(tmp_path, write_run):
    d = with_errors(mean=[0.4] * HORIZON, still=[0.41] * HORIZON)
    d = d._replace(outcomes=d.outcomes._replace(reward_error=0.9))
    text = render_report([replace(read_run(write_run(tmp_path / "run")), diagnosis=d)])
    head, chapter = text.split('id="trust"')
    found = findings(d)
    assert [kind.title for kind, _ in found] == ["No better than nothing changes", "Its reward is wrong"]
    assert found[0].sentence in head
    for kind, sentence in found:
        told = f'{sentence}</p><p class="advice"><b>What helps.</b> {with_code(kind.advice)}'
        assert told in chapter
        assert f"More: “How to read the diagnostics: {kind.title}”" in chapter
    assert "<code>--agent.fit.max-epochs</code>" in chapter


def test_the_table_tells_the_errors_as_exactly_as_the_verdict():
    d = with_errors(mean=[*[0.1] * (HORIZON - 1), 0.3041])
    assert trust.errors(d)[-1][:2] == ("30 steps", "0.304")


def test_returns_say_where_they_begin_and_the_policy_stands_beside_the_plans():
    d = diagnosis()
    beside = d.value_gap._replace(imagined=np.array([-9.0, -8.0]), real=np.array([-7.0, -7.0]))
    assert trust.answers(d._replace(beside_plans=beside))[-4:] == [
        ("Policy, 30 steps", "return −10 imagined, −10 real, from all along the episodes"),
        ("A random plan", "return −20.5 imagined, −20.5 real, from the same 2 beginnings of episodes"),
        ("The best plan found", "return −10.5 imagined, −10.5 real, from the same 2 beginnings of episodes"),
        ("Policy there", "return −8.5 imagined, −7 real, from the same 2 beginnings of episodes"),
    ]
    assert [what for what, _ in trust.answers(d)[-2:]] == ["A random plan", "The best plan found"]  # of older versions


def test_what_never_moves_is_not_drawn():
    assert trust_figures.unmoving(diagnosis()) == [1]
    assert [label for label, _ in trust_figures.traces(diagnosis())] == ["episode 1, observation 0"]
    assert trust_figures.traces(diagnosis()._replace(traces=[])) == []
