"""The worlds of `own_worlds`, the controllers beside them, and what the benchmark says of a run."""

import importlib
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from benchmarks.worlds import WORLDS, Cart, Drone, House, KelvinHouse, Reactor, Tanks

own_worlds = importlib.import_module("benchmarks.tasks.own_worlds")


@pytest.mark.parametrize("name", WORLDS)
def test_a_controller_made_by_hand_is_far_better_than_chance(name):
    random, by_hand = (own_worlds.played(WORLDS[name], 8, random=chance) for chance in (True, False))
    assert np.isfinite([random, by_hand]).all()
    assert by_hand > random + 0.4 * abs(random)


@pytest.mark.parametrize("name", WORLDS)
def test_observations_are_those_that_were_declared(name):
    env = gymnasium.make(WORLDS[name].env)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    ended = False
    while not ended:
        assert env.observation_space.contains(obs)
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ended = terminated or truncated


def advanced(world, state, action):
    plant = world()
    plant.reset(seed=0)
    return plant.advance(np.asarray(state, float), action)


def test_the_cart_by_hand():
    state, reward, ended = advanced(Cart, (1000.0, -2000.0), 10.0)
    np.testing.assert_allclose(state, [1000 - 100, -2000 + 0.05 * (2500 + 600)])
    assert reward == pytest.approx(-(1.0 + 0.1 * 4.0 + 0.2 * 0.25))
    assert not ended


def test_what_heat_and_cold_cost():
    room, walls, outside, hour, sun, price = 18.0, 18.0, 18.0, 17.0, 0.0, 45.0
    state, reward, _ = advanced(House, (room, walls, outside, hour, sun, price), 2.0)
    assert reward == pytest.approx(-(0.45 * 2.0 * 0.25 + 0.4 * 4.0 * 0.25))
    assert state[0] == pytest.approx(18.0 + 0.25 * 2.4)
    assert [advanced(House, (20, 20, 20, h, 0, 0), 0.0)[0][5] for h in (5.5, 5.75, 16.75, 20.75)] == [15, 30, 45, 15]
    _, reward, _ = advanced(KelvinHouse, (292.0, 290.0, 280.0), 6000.0)
    assert reward == pytest.approx(-(1.0 + 0.5))


def test_a_tank_that_runs_over_costs_five():
    costs = [-advanced(Tanks, (first, 500.0, 600.0, 0.0), 0.0)[1] for first in (1400.0, 1400.5)]
    assert costs == [pytest.approx(1.0), pytest.approx(6.0)]


def test_the_reactor_is_not_stable_where_it_is_to_be_held():
    """Half a mole and 350 K at 300 K outside is a resting point; a degree more runs away."""
    held, _, _ = advanced(Reactor, (0.5, 350.0), 300.0)
    np.testing.assert_allclose(held, [0.5, 350.0], rtol=1e-3)
    state = np.array([0.5, 351.0])
    for _ in range(60):
        state, _, _ = advanced(Reactor, state, 300.0)
    assert abs(state[1] - 350.0) > 10.0


def test_a_flight_ends_on_the_ground():
    state, ended, steps = np.array([400.0, 0.0, 12_000.0, 0.0]), False, 0
    plant = Drone()
    plant.reset(seed=0)
    while not ended:
        state, reward, ended = plant.advance(state, 0.0)
        steps += 1
    # 4 m at 9.81 m/s^2 take 0.9 s, which are 18 steps; drag and wind change it little.
    assert 15 <= steps <= 24
    assert reward == -10.0


def test_the_way_from_chance_to_the_controller():
    def details(final):
        return {"house, ours": {"random": -90.0, "final": {"mean": final}, "by_hand": -30.0}}

    checks = [own_worlds._won(details(final), "house").value for final in (-90.0, -30.0, -15.0)]
    assert checks == [0.0, 1.0, pytest.approx(1.25)]


def test_the_reward_is_the_first_output_of_the_last_fit():
    records = [
        {"holdout_mse_outputs": [[0.9, 0.1], [0.8, 0.1]]},
        {"holdout_mse_outputs": [[0.3, 0.1], [0.2, 0.1]]},
        {"rollout_length": [1.0, 1.0]},
    ]
    assert own_worlds._reward_error(SimpleNamespace(of=lambda kind: records)) == [0.3, 0.2]
