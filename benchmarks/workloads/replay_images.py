"""What a replay of a million images takes in memory, what a save of its newest thousand writes, and its reading."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results import ROOT, Check, Result
from forethought.replay import moments
from forethought.training import checkpoint
from forethought.training.seeds import over_seeds
from forethought.training.segments import Segments
from forethought.types import Experience, TimeStep

ROWS, NEW, BEFORE = 1_000_000, 1000, 20_000
_STEPS = 500  # of an episode


def run(quick: bool) -> Result:
    """One environment whose episodes last 500 steps; a process of its own reads what was saved."""
    rows, before = (ROWS // 100, 2 * NEW) if quick else (ROWS, BEFORE)
    replay = _empty(rows)
    held = sum(x.nbytes for x in jax.tree.leaves(replay))
    with tempfile.TemporaryDirectory() as folder:
        root, kept = Path(folder), Segments()
        replay = _filled(replay, before)
        _saved(root, 1, replay, kept)
        replay = _filled(replay, NEW)
        there, start = set(root.rglob("*")), time.perf_counter()
        _saved(root, 2, replay, kept)
        seconds = time.perf_counter() - start
        written = sum(path.stat().st_size for path in set(root.rglob("*")) - there)
        jax.tree.map(lambda x: x.delete(), replay)
        reading = _read(root, rows)
    return Result(
        name="replay_images",
        kind="speed",
        title="A replay of 1,000,000 images of 64 x 64 x 3",
        checks=(
            Check("memory, GB", held / 1e9, 12.9, "GB", "at most"),
            Check("written by a save after 1,000 new rows, MB", written / 1e6, 20.0, "MB", "at most"),
            Check("most memory while it is read, of what it takes", reading["peak"] / held, 1.2, "times", "at most"),
        ),
        details={"save_seconds": seconds, "rows_before": before, "read_seconds": reading["seconds"]},
        command="python -m benchmarks.speed replay_images",
        partial=quick,
    )


def _empty(rows: int) -> moments.Replay:
    no = jnp.array(False)
    one = TimeStep(jnp.zeros((64, 64, 3), jnp.uint8), jnp.zeros(6), jnp.array(0.0), no, no, no)
    return jax.jit(lambda: moments.spread(moments.create(one, rows), 1))()


def _filled(replay: moments.Replay, n: int) -> moments.Replay:
    """With n more steps: images of noise."""
    axes = moments.axes(replay)

    def step(i: jax.Array, replay: moments.Replay) -> moments.Replay:
        image = jax.random.bits(jax.random.fold_in(jax.random.key(0), i), (2, 1, 1, 64, 64, 3), jnp.uint8)
        no, nothing = jnp.zeros((1, 1), bool), jnp.zeros((1, 1))
        now = TimeStep(image[0], jnp.zeros((1, 1, 6)), nothing, no | (i % _STEPS == 0), no, no)
        reached = now._replace(obs=image[1], first=no, truncated=no | (i % _STEPS == _STEPS - 1))
        return over_seeds(moments.record, 1, (axes, 0), axes)(replay, Experience(now, reached))

    return jax.jit(lambda replay: jax.lax.fori_loop(0, n, step, replay), donate_argnums=0)(replay)


def _saved(root: Path, step: int, replay: moments.Replay, kept: Segments) -> None:
    checkpoint.save(root, step, {"replay": replay}, {}, keep=1, segments=kept)


def _read(root: Path, rows: int) -> dict[str, Any]:
    """Seconds, and the most bytes that a process of its own held beyond what it began with."""
    program = f"from benchmarks.workloads.replay_images import read; read({str(root)!r}, {rows})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read(root: str, rows: int) -> None:
    """Read the newest checkpoint, and print what that took."""
    jax.block_until_ready(jnp.zeros(1))
    began, start = _most(), time.perf_counter()
    (path,) = checkpoint.found(Path(root))
    tree, _ = checkpoint.load(path, {"replay": _empty(rows)})
    jax.block_until_ready(tree)
    assert np.asarray(tree["replay"].size) > 0
    print(json.dumps({"seconds": time.perf_counter() - start, "peak": _most() - began}))


def _most() -> int:
    """Since this program was begun: what `resource` says is inherited from the process that called it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])
