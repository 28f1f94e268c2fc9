"""The workloads of `benchmarks.speed`, as one literal dict."""

from collections.abc import Callable

from benchmarks.results import Result
from benchmarks.workloads import (
    branched_rollout,
    convolution,
    device_loop,
    dreams,
    ensemble_epoch,
    export,
    mbpo_end_to_end,
    plan_cem,
    plan_small,
    replay_add,
    replay_images,
    sac_update,
    startup,
    train_rejax,
    train_sac,
)

# Each takes ``quick``: True for a check that it works at all, in seconds; its numbers then mean nothing.
WORKLOADS: dict[str, Callable[[bool], Result]] = {
    "sac_update": sac_update.run,
    "train_sac": train_sac.run,
    "ensemble_epoch": ensemble_epoch.run,
    "branched_rollout": branched_rollout.run,
    "mbpo_end_to_end": mbpo_end_to_end.run,
    "plan_cem": plan_cem.run,
    "plan_small": plan_small.run,
    "replay_add": replay_add.run,
    "replay_images": replay_images.run,
    "train_rejax": train_rejax.run,
    "device_loop": device_loop.run,
    "startup": startup.run,
    "export": export.run,
    "convolution": convolution.run,
    **dreams.WORKLOADS,
}
