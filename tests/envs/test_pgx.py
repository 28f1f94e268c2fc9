"""Games of pgx: two actors who move in turn, in the one unroll and in blocks on the device."""

import sys

import jax
import numpy as np
import pytest

import forethought
import small
from forethought.agents.base import random_action
from forethought.agents.catalog import require_fit
from forethought.envs import env_spec, make
from forethought.errors import MissingExtra, UsageError
from forethought.report.read import read_run
from forethought.types import Box, Discrete
from forethought.unroll import unroll

TIC_TAC_TOE = "pgx/tic_tac_toe"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgx", None)
    with pytest.raises(MissingExtra, match=r"pgx/go_9x9 .* pip install .*\[boards\]'"):
        make("pgx/go_9x9", seeds=[0])


@pytest.fixture(scope="module", autouse=True)
def pgx(request):
    return None if "missing" in request.node.name else pytest.importorskip("pgx")


def two_at_random(time_step, keys, t):
    """Both players are the same stranger: the action is drawn for whoever moves."""
    return np.asarray(random_action(Discrete(9), len(time_step.first), keys[t], time_step.legal)), keys


@pytest.fixture(scope="module")
def lived():
    """200 moves in 64 games side by side, [t, n, ...]."""
    world = make(TIC_TAC_TOE, seeds=range(64))
    moments = list(unroll(world, two_at_random, jax.random.split(jax.random.key(0), 200), 200))
    return jax.tree.map(lambda *x: np.stack(x), *moments)


def test_what_an_agent_knows_of_them():
    spec = env_spec(TIC_TAC_TOE)
    assert (spec.obs, spec.action, spec.players) == (Box((3, 3, 2)), Discrete(9), 2)
    assert env_spec("pgx/minatar-breakout").players == 1
    with pytest.raises(UsageError, match="no game 'tictactoe'; did you mean 'tic_tac_toe'"):
        make("pgx/tictactoe", seeds=[0])
    with pytest.raises(UsageError, match=r"does not take env_kwargs \{'size': 4\}"):
        make(TIC_TAC_TOE, seeds=[0], env_kwargs={"size": 4})
    with pytest.raises(UsageError, match="a game of 2 players"):
        require_fit("dqn", spec)


def test_only_legal_moves_are_made_in_turn(lived):
    now, after = lived.time_step, lived.step.reached
    assert np.all(np.take_along_axis(now.legal, lived.action[..., None], axis=2))
    over = after.terminated
    assert np.all((after.player != now.player)[~over])
    assert np.all(now.legal.sum(axis=2)[now.first] == 9)
    # A move takes one field away.
    assert np.all((now.legal.sum(axis=2) - after.legal.sum(axis=2))[~over] == 1)


def test_who_moves_first_wins_as_often_as_chance_says(lived):
    """Of random games the first player wins 0.585, the second 0.288, and 0.127 are drawn (counted over all games)."""
    over, reward, first = lived.step.reached.terminated, lived.step.reached.reward, lived.time_step.first
    moves = np.zeros(over.shape[1], int)
    outcomes = []
    for t in range(len(over)):
        moves = np.where(first[t], 1, moves + 1)
        outcomes += [(moves[i], reward[t, i]) for i in np.flatnonzero(over[t])]
    count, paid = np.array(outcomes).T
    assert count.min() >= 5
    assert count.max() <= 9
    assert set(paid) == {0.0, 1.0}  # who has moved has won, or nobody has
    n = len(count)
    assert n > 1000
    shares = [np.mean((paid == 1) & (count % 2 == 1)), np.mean((paid == 1) & (count % 2 == 0)), np.mean(paid == 0)]
    np.testing.assert_allclose(shares, [0.5849, 0.2881, 0.1270], atol=4 * 0.5 / np.sqrt(n))


def test_in_blocks_the_same_games_are_played():
    def after(steps, blocks):
        world = make(TIC_TAC_TOE, seeds=[0], envs_per_seed=4)
        learner = small.Learner(small.make_agent("dqn", world.spec, random_steps=10_000), [0], 4, 1000)
        world.reset()
        while learner.env_steps < steps:
            if not blocks or learner.run_block(world, 5) is None:
                small.advance(learner, world, world.now())
        return learner, world

    (learner, world), (other, elsewhere) = after(80, blocks=True), after(80, blocks=False)
    jax.tree.map(np.testing.assert_array_equal, learner.replay, other.replay)
    jax.tree.map(np.testing.assert_array_equal, world.now(), elsewhere.now())


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_agents_keep_to_the_rules(algorithm, tmp_path):
    """In 2048 a move that shifts nothing is illegal: pgx ends the game there with a reward of -1."""
    settings = {"random_steps": 40, "epsilon_last": 0.5} if algorithm == "dqn" else {"rollout_steps": 32}
    agent = {**small.SETTINGS[algorithm], **settings}
    run = forethought.train(
        algorithm, "pgx/2048", steps=600, run=tmp_path / "run", agent=agent, eval_every=200, seeds=2
    )
    lived = run.transitions(seed=1)
    assert lived.reward.min() >= 0.0
    assert lived.reward.max() > 0.0
    assert min(np.min(line["return"]) for line in read_run(run.path).of("eval")) >= 0.0
    policy = forethought.load(run.path)
    obs, alone = lived.obs[:8], np.eye(4, dtype=bool)[[0, 1, 2, 3] * 2]
    assert policy(obs, alone).tolist() == [0, 1, 2, 3] * 2
    assert policy(obs[0], [False, False, True, False]) == 2
