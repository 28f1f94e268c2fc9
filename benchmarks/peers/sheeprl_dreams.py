"""Time gradient updates of sheeprl's Dreamers on a fixed batch of noise: eager mode, float32.

Each case is sheeprl's own agent, configuration and `train`; only sizes are overridden. What a run of sheeprl switches
off with `metric.log_level=0` is off. Sampling from a replay is not timed. Prints JSON (see turns.py). Runs in an
environment of its own.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import hydra
import numpy as np
import torch
import turns
from lightning.fabric import Fabric
from omegaconf import OmegaConf
from sheeprl.algos.dreamer_v1 import dreamer_v1
from sheeprl.algos.dreamer_v2 import dreamer_v2
from sheeprl.algos.dreamer_v2.utils import build_optimizer
from sheeprl.algos.dreamer_v3 import dreamer_v3
from sheeprl.algos.dreamer_v3.utils import Moments
from sheeprl.algos.dreamer_v3_5 import dreamer_v3_5
from sheeprl.utils.metric import MetricAggregator
from sheeprl.utils.timer import timer
from sheeprl.utils.utils import dotdict
from torch import Tensor, nn

N_OBS, N_ACTION, BATCH = 10, 2, 16
ACTIONS = (N_ACTION,)


@dataclass(frozen=True)
class Case:
    """What is timed: ``overrides`` of sheeprl's configuration, with sequences of ``length`` steps."""

    overrides: tuple[str, ...]
    length: int = 64
    pixels: bool = True


# The version of Nature is a separate algorithm in sheeprl, `dreamer_v3_5`, with the sizes as files of their own: 1M is
# deter 512 in 8 blocks, 64 units, 32 latents of 4 classes, depth 4, 3 layers in the encoder, the decoder, the actor and
# the critic, 1 in the reward and the continue model.
_NATURE = ("exp=dreamer_v3_5", "algo=dreamer_v3_5_1M")
CASES: dict[str, Case] = {
    "v3_vector": Case(_NATURE, pixels=False),
    "v3_pixels": Case(_NATURE),
    # The version of 2023: deter 256, 256 units, depth 24, 1 layer everywhere, 32 latents of 32 classes.
    "v3_xs_pixels": Case(("exp=dreamer_v3", "algo=dreamer_v3_XS")),
    # deter 200, 30 Gaussian latents, 400 units, depth 32; no continue model. The default batch is 50 x 50.
    "v1_pixels": Case(("exp=dreamer_v1",), length=50),
    # The defaults, which are DreamerV2's for Atari: deter 600, 600 hidden units, 32 latents of 32 classes, 400 units in
    # heads of 4 layers, depth 48; no continue model, no layer norm. For DeepMind Control DreamerV2 has deter 200.
    "v2_pixels": Case(("exp=dreamer_v2",), length=50),
}


@dataclass(frozen=True)
class Setting:
    """What every agent is built from."""

    cfg: Any
    fabric: Fabric
    space: gym.spaces.Dict
    data: dict[str, Tensor]


@dataclass(frozen=True)
class Agent:
    """Its networks, and a call that makes one update."""

    parts: dict[str, nn.Module]
    update: Callable[[], None]


def setting(case: Case, device: str) -> Setting:
    """The composed configuration, and a batch of noise in one unbroken episode."""
    keys = "algo.cnn_keys.encoder=[rgb]", "algo.mlp_keys.encoder=[]"
    if not case.pixels:
        keys = "algo.cnn_keys.encoder=[]", "algo.mlp_keys.encoder=[state]"
    sizes = f"algo.per_rank_batch_size={BATCH}", f"algo.per_rank_sequence_length={case.length}"
    with hydra.initialize_config_module("sheeprl.configs", version_base=None):
        composed = hydra.compose("config", overrides=[*case.overrides, *keys, *sizes, "metric.log_level=0"])
    cfg = dotdict(OmegaConf.to_container(composed, resolve=True))
    # As sheeprl's command does it from the same configuration.
    torch.distributions.Distribution.set_default_validate_args(cfg.distribution.validate_args)
    MetricAggregator.disabled = timer.disabled = True
    if device != "cpu":
        torch.set_float32_matmul_precision(cfg.float32_matmul_precision)
        torch.backends.cudnn.benchmark = cfg.torch_backends_cudnn_benchmark
    fabric = Fabric(accelerator=device, devices=1, precision=cfg.fabric.precision)
    fabric.launch()
    if case.pixels:
        space = gym.spaces.Dict(rgb=gym.spaces.Box(0, 255, (3, 64, 64), np.uint8))
    else:
        space = gym.spaces.Dict(state=gym.spaces.Box(-np.inf, np.inf, (N_OBS,), np.float32))
    data = {name: rows.to(fabric.device) for name, rows in batch(case).items()}
    return Setting(cfg, fabric, space, data)


def batch(case: Case) -> dict[str, Tensor]:
    """Time first, in float32, which is what sheeprl's sampling gives to all but the version of Nature."""
    lead = (case.length, BATCH)
    if case.pixels:
        seen = {"rgb": torch.randint(256, (*lead, 3, 64, 64)).float()}
    else:
        seen = {"state": torch.randn(*lead, N_OBS)}
    flags = {name: torch.zeros(*lead, 1) for name in ("terminated", "truncated", "is_first")}
    return {**seen, **flags, "actions": 2 * torch.rand(*lead, N_ACTION) - 1, "rewards": torch.randn(*lead, 1)}


def v1(at: Setting) -> Agent:
    """Dreamer V1: three optimizers."""
    world, actor, critic, _ = dreamer_v1.build_agent(at.fabric, ACTIONS, True, at.cfg, at.space)
    parts = {"world_model": world, "actor": actor, "critic": critic}
    update = partial(dreamer_v1.train, at.fabric, *parts.values(), *adams(at, parts), at.data, None, at.cfg)
    return Agent(parts, update)


def v2(at: Setting) -> Agent:
    """Dreamer V2. That the target critic is copied every 100 updates is left out."""
    world, actor, critic, target, _ = dreamer_v2.build_agent(at.fabric, ACTIONS, True, at.cfg, at.space)
    parts = {"world_model": world, "actor": actor, "critic": critic}
    optimizers = adams(at, parts)
    update = partial(dreamer_v2.train, at.fabric, *parts.values(), target, *optimizers, at.data, None, at.cfg, ACTIONS)
    return Agent(parts, update)


def v3(at: Setting) -> Agent:
    """Dreamer V3 of 2023; the target critic is moved along before each update, as in its loop."""
    world, actor, critic, target, _ = dreamer_v3.build_agent(at.fabric, ACTIONS, True, at.cfg, at.space)
    parts = {"world_model": world, "actor": actor, "critic": critic}
    optimizers, scale = adams(at, parts), moments(at.cfg)

    def update() -> None:
        dreamer_v3_5.update_target_critic(critic, target, at.cfg.algo.critic.tau)
        dreamer_v3.train(
            at.fabric, world, actor, critic, target, *optimizers, at.data, None, at.cfg, True, ACTIONS, scale
        )

    return Agent(parts, update)


def v3_of_nature(at: Setting) -> Agent:
    """Dreamer V3 as in Nature: one optimizer; the slow critic is moved along after each update, as in its loop."""
    cfg = at.cfg
    world, actor, critic, target, _ = dreamer_v3_5.build_agent(at.fabric, ACTIONS, True, cfg, at.space)
    parts = {"world_model": world, "actor": actor, "critic": critic}
    parameters = [weights for part in parts.values() for weights in part.parameters()]
    optimizer = hydra.utils.instantiate(cfg.algo.optimizer, params=parameters, _convert_="all")
    optimizer, scale, data = at.fabric.setup_optimizers(optimizer), moments(cfg), with_context(at)

    def update() -> None:
        dreamer_v3_5.train(at.fabric, cfg, world, actor, critic, target, optimizer, scale, data, None, ACTIONS)
        dreamer_v3_5.update_target_critic(critic, target, cfg.algo.critic.tau)

    return Agent(parts, update)


BUILDERS = {"dreamer_v1": v1, "dreamer_v2": v2, "dreamer_v3": v3, "dreamer_v3_5": v3_of_nature}


def adams(at: Setting, parts: dict[str, nn.Module]) -> tuple[Any, ...]:
    """The optimizers of the parts; V2's have a weight decay of their own, which `build_optimizer` knows of."""
    made = [build_optimizer(at.cfg.algo[name].optimizer, part.parameters()) for name, part in parts.items()]
    return at.fabric.setup_optimizers(*made)


def moments(cfg: Any) -> Moments:
    """The scale of the returns."""
    how = cfg.algo.actor.moments
    return Moments(how.decay, how.max, how.percentile.low, how.percentile.high)


def with_context(at: Setting) -> dict[str, Tensor]:
    """The batch as the version of Nature reads it: pictures in bytes, and before each sequence one step with the
    latent state that it is begun from.
    """
    assert at.cfg.algo.replay_context == 1
    data = {name: torch.cat((rows[:1], rows)) for name, rows in at.data.items()}
    if "rgb" in data:
        data["rgb"] = data["rgb"].to(torch.uint8)
    model, lead = at.cfg.algo.world_model, data["is_first"].shape[:2]
    data["deter"] = torch.zeros(*lead, model.recurrent_model.recurrent_state_size, dtype=torch.float16)
    data["stoch"] = torch.randint(model.discrete_size, (*lead, model.stochastic_size), dtype=torch.uint8)
    return {name: rows.to(at.fabric.device) for name, rows in data.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=tuple(CASES))
    turns.add_arguments(parser)
    asked = parser.parse_args()
    torch.manual_seed(0)
    at = setting(CASES[asked.case], asked.device)
    agent = BUILDERS[at.cfg.algo.name](at)
    facts = {
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in agent.parts.items()},
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("sheeprl", "torch", "lightning")},
    }
    turns.report(agent.update, facts, asked)


if __name__ == "__main__":
    main()
