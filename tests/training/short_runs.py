"""A finished run of a moment, and its config changed by hand."""

import json

import forethought
from tests.small import SETTINGS

MAZE = "forethought/DynaMaze-v0"
QUICK = {"eval_every": 10_000, "eval_episodes": 1, "checkpoint_every": 20, "log_every": 10}


def train(path, steps=60, **options):
    return forethought.train("dyna-q", MAZE, steps=steps, run=path, agent=SETTINGS["dyna-q"], **{**QUICK, **options})


def edit(run, **changes):
    described = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        place = described
        for part in path:
            place = place[part]
        place[last] = value
    (run / "config.json").write_text(json.dumps(described))
