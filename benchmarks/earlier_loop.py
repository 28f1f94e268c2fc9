"""The loop step by step as it was before time steps and blocks: environment steps per second, as one line of JSON.

    python -m benchmarks.earlier_loop TURNS

runs the library at the commit `BEFORE`, taken out of the history of this repository.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

BEFORE = "de6c546"
ROOT = Path(__file__).parents[1]
_SCRIPT = """
import json, sys, time
import jax
from forethought.agents.dyna.dyna_q import DynaQ, DynaQConfig
from forethought.agents.free.sac import SAC, SACConfig
from forethought.envs import make
from forethought.training.learner import Learner

class Acting(SAC):
    def phases(self):
        return ()

def rate(made, env, n, turns, seeds=1):
    world = make(env, seeds=range(seeds), envs_per_seed=n)
    learner, seconds = Learner(made(world.spec), range(seeds), n, 100_000), []
    obs = world.reset()
    for _ in range(6):
        start = time.perf_counter()
        for _ in range(turns):
            action = learner.act(obs)
            step = world.step(action)
            learner.observe(obs, action, step)
            obs = step.obs
            learner.learn_step(obs)
        jax.block_until_ready((learner.state, learner.replay))
        seconds.append(time.perf_counter() - start)
    return turns * n * seeds / min(seconds[1:])

acting = lambda spec: Acting(SACConfig(random_steps=0), spec)
turns = int(sys.argv[1])
print(json.dumps({
    "acting 1": rate(acting, "forethought/Pendulum-v0", 1, turns),
    "acting 256": rate(acting, "forethought/Pendulum-v0", 256, max(turns // 10, 2)),
    "dyna_q": rate(lambda spec: DynaQ(DynaQConfig(), spec), "forethought/DynaMaze-v0", 1, max(turns // 4, 2), 100),
}))
"""


def measure(turns: int) -> dict[str, float]:
    """Of acting alone in 1 and in 256 environments, and of Dyna-Q on 100 seeds; the best of five after a warm-up.

    Nothing where the history is not at hand.
    """
    packed = subprocess.run(["git", "archive", BEFORE, "src"], cwd=ROOT, capture_output=True)
    if packed.returncode:
        return {}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tree:
        tree.extractall(folder, filter="data")
        command = [sys.executable, "-c", _SCRIPT, str(turns)]
        env = {**os.environ, "PYTHONPATH": f"{folder}/src"}
        said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return json.loads(said.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
