"""Run directories with known numbers, as training writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HOSTILE = "<script>alert('config')</script>"


@pytest.fixture(name="write_run", scope="session")
def _write_run():
    return write_run


def write_run(
    path: Path,
    seeds: int = 3,
    evals: int = 7,
    algorithm: str = "mbpo",
    model: bool = True,
    summary: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    shift: float = 0.0,
) -> Path:
    """Write a run of 500 steps per evaluation; seed k's last evaluation is exactly ``-200 + 10 k + shift``."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(default_config(seeds, algorithm) | (config or {})))
    rng = np.random.default_rng(seeds + len(algorithm))
    lines: list[dict[str, Any]] = []
    for point in range(evals):
        steps = 500 * point
        clock = {"env_steps": steps, "frames": steps * seeds, "updates": 20 * steps, "wall_s": 40.0 * point + 2.0}
        lines += [eval_record(clock, seeds, point, evals, shift, rng)]
        if point:
            lines += episode_records(clock, seeds, point, evals, rng)
            lines += [train_record(clock, seeds, point, rng)]
            lines += [model_record(clock, seeds, point, rng)] if model else []
    lines.append({**clock, "kind": "warning", "text": "evaluation hit the time limit <b>often</b>"})
    with open(path / "metrics.jsonl", "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    if summary is not None:
        (path / "summary.json").write_text(
            json.dumps(
                {**clock, "seconds": next(r["seconds"] for r in reversed(lines) if r["kind"] == "train"), **summary}
            )
        )
    return path


def default_config(seeds: int, algorithm: str) -> dict[str, Any]:
    defaults = {
        "learning_rate": 0.0003,
        "discount": 0.99,
        "ensemble": 7,
        "elites": 5,
        "hidden": [200, 200, 200, 200],
        "layer_norm": False,
        "note": "plain",
        "rollout": {"first": 1, "last": 15},
        "target_entropy": None,
    }
    agent = defaults | {
        "learning_rate": 0.1 + 0.2,  # 0.30000000000000004
        "note": HOSTILE,
        "rollout": {"first": 1, "last": 25},
    }
    return {
        "format": 1,
        "algorithm": algorithm,
        "env": "Pendulum-v1",
        "env_kwargs": {},
        "seed": 0,
        "seeds": seeds,
        "num_envs": 1,
        "action_repeat": 1,
        "steps": 3000,
        "eval_every": 500,
        "eval_episodes": 10,
        "preset": None,
        "agent": agent,
        "agent_defaults": defaults,
        "versions": {"forethought": "0.1.0", "jax": "0.10.2", "python": "3.11.7"},
        "hardware": {"device": "cpu", "cpu": "Some CPU <2 GHz>", "cores": 2, "memory_gib": 23.4},
        "command": f"forethought train {algorithm} --env Pendulum-v1 --seeds {seeds} --steps 3000",
        "created": "2026-11-20T20:00:00Z",
    }


def eval_record(clock: dict, seeds: int, point: int, evals: int, shift: float, rng: np.random.Generator) -> dict:
    rest = np.exp(-3.0 * point / (evals - 1)) - np.exp(-3.0)
    returns = []
    for seed in range(seeds):
        noise = rng.normal(0.0, 60.0 * rest, 10)
        centre = -200.0 + 10.0 * seed + shift - 1100.0 * rest + rng.normal(0.0, 100.0) * rest
        returns.append((centre + noise - noise.mean()).tolist())
    return {**clock, "kind": "eval", "return": returns, "length": [[200] * 10] * seeds}


def episode_records(clock: dict, seeds: int, point: int, evals: int, rng: np.random.Generator) -> list[dict]:
    records = []
    for part in (0.4, 0.8):
        for seed in range(seeds):
            steps = int(clock["env_steps"] - 500 * (1 - part))
            value = -200 - 1100 * float(np.exp(-3.0 * (point - 1 + part) / (evals - 1))) + float(rng.normal(0, 120))
            wall_s = clock["wall_s"] - 40 * (1 - part)
            records.append(
                {**clock, "env_steps": steps, "wall_s": wall_s, "kind": "episode", "seed": seed}
                | {"return": value, "length": 200}
            )
    return records


def train_record(clock: dict, seeds: int, point: int, rng: np.random.Generator) -> dict:
    def spread(centre: float) -> list[float]:
        return (centre * rng.normal(1.0, 0.1, seeds)).tolist()

    spent = clock["wall_s"]
    return {
        **clock,
        "kind": "train",
        "critic_loss": spread(900.0 * 10.0 ** (-0.5 * point)),  # over more than two decades: a logarithmic scale
        "actor_loss": spread(60.0 - 5.0 * point),
        "alpha": spread(0.2 + 0.05 * point),
        "entropy": spread(0.5 - 0.1 * point),
        "q": spread(-60.0 + 5.0 * point),
        "always_null": [None] * seeds,
        "steps_per_s": 12.5 + point / 3,
        "seconds": {"act": 0.03 * spent, "env": 0.02 * spent, "update": 0.5 * spent, "fit_model": 0.25 * spent}
        | {"rollout": 0.08 * spent, "evaluate": 0.04 * spent, "checkpoint": 0.005 * spent, "compile": 9.0},
    }


def model_record(clock: dict, seeds: int, point: int, rng: np.random.Generator) -> dict:
    error = 0.08 * np.exp(-0.6 * point)
    return {
        **clock,
        "kind": "model",
        "holdout_mse": (error * rng.normal(1.0, 0.08, seeds)).tolist(),
        "holdout_nll": (-2.0 - point + rng.normal(0.0, 0.1, seeds)).tolist(),
        "train_nll": (-2.5 - point + rng.normal(0.0, 0.1, seeds)).tolist(),
        "rollout_length": [1 + point] * seeds,
        "epochs": [10.0] * seeds,
    }
