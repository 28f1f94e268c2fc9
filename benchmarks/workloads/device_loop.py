"""The loop over a functional environment in one program, against the loop step by step on the host: as that is now, and
as it was before there were blocks.
"""

import time
from collections.abc import Callable

import jax

from benchmarks import earlier_loop
from benchmarks.results import Check, Result
from forethought.agents.base import Agent
from forethought.agents.dyna.dyna_q import DynaQ, DynaQConfig
from forethought.agents.free.sac import SAC, SACConfig
from forethought.envs import JaxVector, env_spec, make
from forethought.training.learner import Learner
from forethought.types import EnvSpec

PENDULUM, MAZE = "forethought/Pendulum-v0", "forethought/DynaMaze-v0"
ROWS, STEPS = 100_000, 2**30  # transitions that are kept; steps that a learner is made for
REPEATS = 5
_Made = Callable[[EnvSpec], Agent]


class Acting(SAC):
    """Acts by its policy (256 x 256) and keeps what happens; learns nothing."""

    def phases(self) -> tuple[()]:
        """None."""
        return ()


def run(quick: bool) -> Result:
    """Act, step and record; SAC with one update per step, against its updates alone; tables of many seeds."""
    seeds, earlier = 2 if quick else 100, earlier_loop.measure(20 if quick else 2000)
    acting = {n: against_host(_acting, PENDULUM, n, 20 if quick else turns) for n, turns in ((1, 2000), (256, 200))}
    wide = _Loop(_acting, PENDULUM, 4096).rate(_Loop.in_blocks, 4 if quick else 100)
    learning = beside_updates(10 if quick else 1000)
    tables = against_host(lambda spec: DynaQ(DynaQConfig(), spec), MAZE, 1, 20 if quick else 500, seeds)
    now = {"acting 1": acting[1], "acting 256": acting[256], "dyna_q": tables}
    gains = {name: found["blocks_steps_per_s"] / earlier[name] if earlier else None for name, found in now.items()}
    return Result(
        name="device_loop",
        kind="speed",
        title="Functional environments: many steps in one program",
        checks=(
            Check("act, step and record, 1 environment, against the first loop", gains["acting 1"], 20, "times"),
            Check("act, step and record, 256 environments, against the first loop", gains["acting 256"], 5, "times"),
            Check("SAC, what the loop adds to its updates", 100 * learning["loop_share"], 5, "%", "at most"),
            Check("Dyna-Q on the maze, 100 seeds, against the first loop", gains["dyna_q"], 5, "times"),
        ),
        details={
            "acting": acting,
            "acting_4096_steps_per_s": wide,
            "sac": learning,
            "dyna_q": tables,
            "earlier": earlier,
            "policy_share_256": policy_alone(256, 20 if quick else 1000) * acting[256]["blocks_steps_per_s"] / 256,
        },
        command="python -m benchmarks.speed device_loop",
        partial=quick,
    )


class _Loop:
    """A learner in its world, past all that compiles."""

    def __init__(self, made: _Made, env: str, n: int, seeds: int = 1):
        world = make(env, seeds=range(seeds), envs_per_seed=n)
        assert isinstance(world, JaxVector)
        self.world = world
        self.learner = Learner(made(world.spec), range(seeds), n, STEPS)
        world.reset()

    def by_host(self, turns: int) -> None:
        """Step by step: the policy, the world and the learner are called in turn."""
        learner, world = self.learner, self.world
        for _ in range(turns):
            now = world.now()
            action = learner.act(now)
            learner.observe(now, world.step(action))
            learner.learn_step(world.now())
        jax.block_until_ready((learner.state, learner.replay))

    def in_blocks(self, turns: int) -> None:
        """In one program; where a step asks for the host, that one by the host."""
        done = 0
        while done < turns:
            told = self.learner.run_block(self.world, turns - done)
            if told is None:
                self.by_host(1)
            done += 1 if told is None else len(told.ended)
        jax.block_until_ready((self.learner.state, self.learner.replay))

    def rate(self, live: Callable[["_Loop", int], None], turns: int) -> float:
        """Environment steps per second of all seeds, the best of five, after a warm-up of as many."""
        slots, seconds = self.world.num_slots, []
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            live(self, turns)
            seconds.append(time.perf_counter() - start)
        return turns * slots / min(seconds[1:])


def against_host(made: _Made, env: str, n: int, turns: int, seeds: int = 1) -> dict[str, float]:
    """Environment steps per second in blocks and by the host, and their ratio."""
    blocks = _Loop(made, env, n, seeds).rate(_Loop.in_blocks, turns)
    host = _Loop(made, env, n, seeds).rate(_Loop.by_host, max(turns // 10, 2))
    return {"blocks_steps_per_s": blocks, "host_steps_per_s": host, "ratio": blocks / host}


def beside_updates(turns: int) -> dict[str, float]:
    """Seconds per step of SAC (one environment, one update of 256 rows) in blocks and by the host, and of the update
    alone in a loop of its own, over the same replay.
    """
    made = _Loop(lambda spec: SAC(SACConfig(random_steps=256, replay_capacity=ROWS), spec), PENDULUM, 1)
    made.in_blocks(256)
    blocks, learner = 1.0 / made.rate(_Loop.in_blocks, turns), made.learner
    (phase,) = learner.phases
    bare = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        learner.state, learner.replay, _ = learner.program.phases.run(
            phase, learner.state, learner.replay, learner.env_steps, turns
        )
        jax.block_until_ready(learner.state)
        bare.append((time.perf_counter() - start) / turns)
    host = 1.0 / made.rate(_Loop.by_host, max(turns // 5, 2))
    update = min(bare[1:])
    return {
        "block_s_per_step": blocks,
        "update_s": update,
        "host_s_per_step": host,
        "loop_share": blocks / update - 1.0,
    }


def policy_alone(n: int, turns: int) -> float:
    """Seconds that the policy alone takes to decide for n environments, in a program that does nothing else."""
    agent = _acting(env_spec(PENDULUM))
    state, carry = agent.init(key=jax.random.key(0)), agent.init_actor(n)

    def turn(obs: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        action = agent.decide(state, carry._replace(obs=obs), key=key, explore=True)[0]
        return obs + 1e-3 * action, None  # else it would be decided once for all turns

    run = jax.jit(lambda key: jax.lax.scan(turn, carry.obs, jax.random.split(key, turns))[0])
    seconds = []
    for i in range(1 + REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run(jax.random.key(i)))
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / turns


def _acting(spec: EnvSpec) -> Agent:
    return Acting(SACConfig(random_steps=0, replay_capacity=ROWS), spec)
