"""Trainings in functional environments from `forethought.train` to the policy, against rejax's with equal sizes."""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import peak
from benchmarks.peers import venv
from benchmarks.results import Check, Result
from forethought import train

RANDOM_STEPS = 256
_PPO = {"rollout_steps": 64, "epochs": 8, "minibatches": 16, "entropy_weight": 0.01, "anneal": False}
_DQN = {"hidden": (64, 64), "train_every": 1, "batch_size": 256, "double": True, "epsilon_steps": 5000}
_OFF_POLICY = {"random_steps": RANDOM_STEPS, "replay_capacity": 131_072}


@dataclass(frozen=True)
class Case:
    """One training of both sides: ours in windows of ``window`` steps."""

    algorithm: str
    env: tuple[str, str]  # ours, theirs
    steps: int
    window: int
    agent: dict[str, Any]
    num_envs: int = 1
    seeds: int = 1
    hidden: str = "64"


_CARTPOLE, _PENDULUM = ("gymnax/CartPole-v1", "CartPole-v1"), ("forethought/Pendulum-v0", "Pendulum-v1")
_ON_CARTPOLE = Case("ppo", _CARTPOLE, 524_288, 65_536, _PPO, num_envs=64)
CASES: dict[str, Case] = {
    "PPO on CartPole, 1 seed": _ON_CARTPOLE,
    "PPO on CartPole, 10 seeds": replace(_ON_CARTPOLE, seeds=10),
    "SAC on Pendulum, 64 x 64": Case("sac", _PENDULUM, 10_000, 2_000, {**_OFF_POLICY, "hidden": (64, 64)}),
    "SAC on Pendulum, 256 x 256": Case("sac", _PENDULUM, 6_000, 1_000, _OFF_POLICY, hidden="256"),
    "DQN on CartPole": Case("dqn", _CARTPOLE, 10_000, 2_000, {**_OFF_POLICY, **_DQN}),
}


def run(quick: bool) -> Result:
    """Environment steps per second of all seeds, compilation left out on both sides, logging and checkpoints included.

    Activations are the same: tanh for PPO, ReLU for DQN and SAC. Not alike are DQN's target network (copied here, moved
    along there), and that PPO's gradients are shortened by their norm here alone.

    rejax compiles a training whole and is timed when it runs once more, without evaluations; ours, without them too,
    is timed from the first log line after which nothing compiles to the last one.
    """
    peaks = [peak() for _ in range(5)]
    found: dict[str, dict[str, Any]] = {}
    for name, case in CASES.items():
        found[name] = {"ours": ours(case, quick), "rejax": rejax(case, quick)}
    stable = venv.run_script("sb3", "sb3_ppo.py", ["--steps", "4096"] if quick else [], probe=["--steps", "4096"])
    peaks += [peak() for _ in range(5)]
    for pair in found.values():
        theirs = pair["rejax"].get("steps_per_s")
        pair["ratio"] = theirs and pair["ours"]["steps_per_s"] / theirs
    one = found["PPO on CartPole, 1 seed"]["ours"]["steps_per_s"]
    against = stable.get("steps_per_s")
    return Result(
        name="train_rejax",
        kind="speed",
        title="Trainings on functional environments, against rejax 0.1.3 with equal sizes",
        checks=(
            *(Check(f"{name}, against rejax", pair["ratio"], 1, "times", "more than") for name, pair in found.items()),
            Check("PPO on CartPole, 1 seed, against Stable-Baselines3", against and one / against, 5, "times"),
        ),
        details={**found, "stable_baselines3": stable, "peak_gflop_per_s": max(peaks)},
        command="python -m benchmarks.speed train_rejax",
        partial=quick,
    )


def ours(case: Case, quick: bool = False) -> dict[str, Any]:
    """Steps per second between log lines, and the seconds of the whole with all that compiles."""
    window = 1024 * case.num_envs if quick else case.window
    steps = 4 * window if quick else case.steps
    with tempfile.TemporaryDirectory() as folder:
        done = train(
            case.algorithm,
            case.env[0],
            steps=steps,
            seeds=case.seeds,
            num_envs=case.num_envs,
            run=Path(folder) / "run",
            preset="none",
            agent=case.agent,
            baselines=False,
            eval_every=steps,
            eval_episodes=1,
            log_every=window,
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "train"]
    last = records[-1]
    compiled = last["seconds"]["compile"]
    first = next((record for record in records[:-1] if record["seconds"]["compile"] == compiled), records[-2])
    made, seconds = last["env_steps"] - first["env_steps"], last["wall_s"] - first["wall_s"]
    return {
        "steps_per_s": case.seeds * made / seconds,
        "timed_from_step": first["env_steps"],
        "whole_run_s": done.summary["wall_s"],
        "seconds_by_kind": last["seconds"],
    }


def rejax(case: Case, quick: bool = False) -> dict[str, Any]:
    """What the script of the peer says."""
    steps = 4096 if quick else case.steps
    arguments = [case.algorithm, case.env[1], "--steps", str(steps), "--hidden", case.hidden]
    arguments += ["--seeds", str(case.seeds), "--random-steps", str(RANDOM_STEPS)]
    return venv.run_script("rejax", "rejax_train.py", arguments)
