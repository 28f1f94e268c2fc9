"""When phases are due: by steps and by updates, however many environments step at a time."""

import pytest

import small
from forethought.agents.base import Phase
from forethought.errors import UsageError
from forethought.training.schedule import Schedule, check_given, check_warm_up, usual_repeats


def phase(every, start=0):
    return Phase("p", every, lambda *a, **k: None, start=start)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7])
@pytest.mark.parametrize(("every", "start"), [(1, 0), (1, 5), (4, 0), (4, 5), (4, 8), (250, 0), (3, 300)])
def test_a_phase_is_due_at_its_start_and_every_so_many_steps(num_envs, every, start):
    """Whatever the stride: never at step 0, once for each step of the schedule, as soon as it is reached."""
    moments = [step for step in range(1, 700) if step >= start and (step - start) % every == 0]
    ran, schedule = 0, Schedule([phase(every, start)], num_envs)
    for now in range(num_envs, 700, num_envs):
        ran += schedule.due(schedule.phases[0], now)
        assert ran == sum(moment <= now for moment in moments)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7])
@pytest.mark.parametrize(("every", "start"), [(1, 0), (1, 5), (4, 0), (4, 5), (4, 8), (250, 0), (3, 300)])
def test_the_usual_repeats_are_those_that_come(num_envs, every, start):
    p = phase(every, start)
    came = {Schedule([p], num_envs).due(p, now) for now in range(num_envs, 700, num_envs)} - {0}
    assert usual_repeats(p, num_envs) == sorted(came)


def test_a_phase_by_updates_is_due_as_soon_as_they_were_made():
    update = Phase("update", 2, lambda *a, **k: None, updates=3, start=6)
    copy = Phase("copy", 4, lambda *a, **k: None, clock="updates", start=5)
    for num_envs in (1, 2, 6):
        schedule = Schedule([update, copy], num_envs)
        ran = 0
        for now in range(num_envs, 121, num_envs):
            made = 3 * sum(step % 2 == 0 for step in range(6, now + 1))
            ran += schedule.due(copy, now)
            assert ran == sum(at <= made for at in range(5, 400, 4))
        assert ran > 30


def test_blocks_stop_before_what_the_host_has_to_run():
    """Steady steps up to a stage, and up to a phase that is due by updates, whatever those come to."""
    update = Phase("update", 1, lambda *a, **k: None, updates=3)
    for other in (
        Phase("stage", 50, lambda *a, **k: None, times=4, start=50),
        Phase("copy", 100, lambda *a, **k: None, clock="updates", start=7),
        Phase("fit", 7, lambda *a, **k: None, start=3),
    ):
        schedule, step, hosts = Schedule([update, other], 1, 10), 0, []
        while step < 200:
            phases, turns = schedule.steady(step)
            if not turns:
                hosts.append(step + 1)
                step += 1
                continue
            assert phases == ((update, 1),)
            assert not any(schedule.due(other, step + i) for i in range(1, min(turns, 300) + 1))
            assert schedule.random_after(step) == schedule.random_after(step + turns - 1)
            step += turns
        assert hosts == [at for at in range(1, 201) if schedule.due(other, at)]


def test_a_run_must_outlast_its_warm_up():
    agent = small.make_agent("sac", small.envs.env_spec("forethought/ProbeAction-v0"))
    check_warm_up(agent, 9)
    with pytest.raises(UsageError, match="8 steps end within the 8 random steps"):
        check_warm_up(agent, 8)
    check_warm_up(agent, 0, pretrain=1)
    check_given(agent, 100, 200, pretrain=False)
    with pytest.raises(UsageError, match="the steps to come are 201, the replay keeps 200"):
        check_given(agent, 100, 201, pretrain=False)


@pytest.mark.parametrize("num_envs", [1, 256, 4096])
@pytest.mark.parametrize("step", [0, 600_000, 2_000_000_000])
def test_blocks_go_on_for_ever(num_envs, step):
    """However far a run has come, and however many environments it has."""
    step -= step % num_envs
    for phases in ([], [Phase("update", num_envs, lambda *a, **k: None)]):
        assert 0 < Schedule(phases, num_envs).steady(step)[1] <= (2**31 - 1 - step) // num_envs


def test_what_is_due_by_updates_is_never_taken_for_steady():
    """Here it is due at every second turn, though as many updates come at each turn that has some."""
    update, other = (
        Phase("update", 2, lambda *a, **k: None, updates=1),
        Phase("other", 4, lambda *a, **k: None, clock="updates"),
    )
    schedule = Schedule([update, other], 4)
    due = [schedule.due(other, now) for now in range(4, 65, 4)]
    assert due == [0, 1] * 8
    for step, runs in enumerate(due):
        phases, turns = schedule.steady(4 * step)
        assert "other" not in [phase.name for phase, _ in phases]
        assert (turns == 0) == bool(runs)
