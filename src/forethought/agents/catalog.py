"""Every algorithm, as one literal dict. Looking at it imports no JAX; `load` imports the one that is wanted."""

import importlib
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from forethought.agents.presets import (
    CEM_PRESETS,
    DQN_PRESETS,
    DREAMER_V1_PRESETS,
    DREAMER_V2_PRESETS,
    DREAMER_V3_PRESETS,
    MBPO_PRESETS,
    PETS_PRESETS,
    PLANET_PRESETS,
    PLANNING_PRESETS,
    POPLIN_A_PRESETS,
    POPLIN_P_PRESETS,
    PPO_PRESETS,
    SAC_PRESETS,
    TABULAR_PRESETS,
    WORLD_MODELS_PRESETS,
    Preset,
)
from forethought.errors import UsageError, brief, nearest
from forethought.types import Box, Discrete, EnvSpec, Parts, Space, is_image

_PLANNING = "planning at decision time"
_DREAMS = "policy learned inside the model"
_Sees: TypeAlias = Literal["vector", "image", "discrete", "dict"]
_ALL: tuple[_Sees, ...] = ("vector", "image", "discrete", "dict")


@dataclass(frozen=True)
class Entry:
    """One algorithm: where it stands, what it is, and which spaces it takes.

    ``evaluations`` of ``eval_episodes`` each are made in a run unless the user says otherwise, and ``final_episodes``
    are played to evaluate it: few where every action is expensive. ``replays``: it keeps transitions, and can learn
    from others'.
    """

    module: str
    agent: str
    config: str
    use: str
    summary: str
    paper: str
    obs: tuple[_Sees, ...]
    action: tuple[type[Box] | type[Discrete], ...]
    presets: dict[str, Preset] = field(default_factory=dict)
    evaluations: int = 20
    eval_episodes: int = 10
    final_episodes: int = 100
    replays: bool = True

    def with_data(self) -> dict[str, Any]:
        """Settings for a run that begins with transitions given. Raises `UsageError` where there is no use for them."""
        if not self.replays:
            raise UsageError(
                f"{self.agent} learns from its own steps as they come and keeps no replay; transitions that were "
                "logged suit sac, mbpo, pets and the other planners"
            )
        return {"random_steps": 0}

    def load(self) -> tuple[type, type]:
        """The classes of agent and config; this imports JAX."""
        module = importlib.import_module(self.module)
        return getattr(module, self.agent), getattr(module, self.config)

    @property
    def plans(self) -> bool:
        """Whether its policy needs the model to act."""
        return self.use == _PLANNING

    def misfit(self, spec: EnvSpec) -> str | None:
        """Why the algorithm cannot take this environment; None where it can."""
        if _sees(spec.obs) not in self.obs or not isinstance(spec.action, self.action):
            return (
                f"it takes {' or '.join(self.obs)} observations and "
                f"{' or '.join('continuous' if kind is Box else 'discrete' for kind in self.action)} actions, "
                f"{spec.id} has {_sees(spec.obs)} observations ({_describe(spec.obs)}) and {_describe(spec.action)}"
            )
        if spec.players > 1:
            return f"it knows no opponent, and {spec.id} is a game of {spec.players} players"
        return None

    def seen_otherwise(self, spec: EnvSpec) -> str:
        """A way out where ``--pixels`` decides whether it can take the environment; empty elsewhere."""
        if not isinstance(spec.obs, Box) or not isinstance(spec.action, self.action):
            return ""
        if is_image(spec.obs):
            return "leave out --pixels where that made the pictures, or " if "vector" in self.obs else ""
        return (
            "let it see pictures where the environment can be drawn (--pixels 64), or " if "image" in self.obs else ""
        )


def _planning(
    agent_config: str,
    summary: str,
    paper: str,
    module: str = "planning",
    presets: dict[str, Preset] = PLANNING_PRESETS,
    agent: str = "PlanningAgent",
) -> Entry:
    return Entry(
        module=f"forethought.agents.control.{module}",
        agent=agent,
        config=agent_config,
        use=_PLANNING,
        summary=summary,
        paper=paper,
        obs=("vector",),
        action=(Box,),
        presets=presets,
        evaluations=4,
        eval_episodes=1,
        final_episodes=2,
    )


ALGORITHMS: dict[str, Entry] = {
    "dyna-q": Entry(
        module="forethought.agents.dyna.dyna_q",
        agent="DynaQ",
        config="DynaQConfig",
        use="source of data",
        summary="Q table; planning repeats what a model of counts remembers",
        paper="Sutton 1990",
        obs=("discrete",),
        action=(Discrete,),
        presets=TABULAR_PRESETS,
        replays=False,
    ),
    "dyna-q-plus": Entry(
        module="forethought.agents.dyna.dyna_q",
        agent="DynaQ",
        config="DynaQPlusConfig",
        use="source of data",
        summary="Dyna-Q with a bonus for what was not tried for long: follows a changing world",
        paper="Sutton 1990",
        obs=("discrete",),
        action=(Discrete,),
        presets=TABULAR_PRESETS,
        replays=False,
    ),
    "prioritized-sweeping": Entry(
        module="forethought.agents.dyna.sweeping",
        agent="PrioritizedSweeping",
        config="SweepingConfig",
        use="source of data",
        summary="Q table; full backups through the model where the values are most wrong",
        paper="Moore & Atkeson 1993",
        obs=("discrete",),
        action=(Discrete,),
        presets=TABULAR_PRESETS,
        replays=False,
    ),
    "sac": Entry(
        module="forethought.agents.free.sac",
        agent="SAC",
        config="SACConfig",
        use="none (baseline)",
        summary="soft actor-critic: twin critics, entropy with a learned weight",
        paper="Haarnoja et al. 2018",
        obs=("vector",),
        action=(Box,),
        presets=SAC_PRESETS,
    ),
    "dqn": Entry(
        module="forethought.agents.free.dqn",
        agent="DQN",
        config="DQNConfig",
        use="none (baseline)",
        summary="deep Q-network: double, dueling, n-step and prioritized as options",
        paper="Mnih et al. 2015",
        obs=_ALL,
        action=(Discrete,),
        presets=DQN_PRESETS,
    ),
    "ppo": Entry(
        module="forethought.agents.free.ppo",
        agent="PPO",
        config="PPOConfig",
        use="none (baseline)",
        summary="on-policy: clipped policy gradients, generalized advantages",
        paper="Schulman et al. 2017",
        obs=_ALL,
        action=(Box, Discrete),
        presets=PPO_PRESETS,
        replays=False,
    ),
    "mbpo": Entry(
        module="forethought.agents.dyna.mbpo",
        agent="MBPO",
        config="MBPOConfig",
        use="source of data",
        summary="SAC on short rollouts of a probabilistic ensemble that branch off real states",
        paper="Janner et al. 2019",
        obs=("vector",),
        action=(Box,),
        presets=MBPO_PRESETS,
    ),
    "planet": Entry(
        module="forethought.agents.dream.planet",
        agent="PlaNet",
        config="PlaNetConfig",
        use=_PLANNING,
        summary="the cross-entropy method within a recurrent latent model, from pixels",
        paper="Hafner et al. 2019",
        obs=_ALL,
        action=(Box,),
        presets=PLANET_PRESETS,
        evaluations=4,
        eval_episodes=1,
        final_episodes=2,
    ),
    "dreamer-v1": Entry(
        module="forethought.agents.dream.dreamer_v1",
        agent="DreamerV1",
        config="DreamerV1Config",
        use=_DREAMS,
        summary="an actor-critic that climbs the gradient of what a recurrent model imagines",
        paper="Hafner et al. 2020",
        obs=_ALL,
        action=(Box, Discrete),
        presets=DREAMER_V1_PRESETS,
    ),
    "dreamer-v2": Entry(
        module="forethought.agents.dream.dreamer_v2",
        agent="DreamerV2",
        config="DreamerV2Config",
        use=_DREAMS,
        summary="categorical latents, balanced divergence, a slow critic; choices and numbers",
        paper="Hafner et al. 2021",
        obs=_ALL,
        action=(Box, Discrete),
        presets=DREAMER_V2_PRESETS,
    ),
    "dreamer-v3": Entry(
        module="forethought.agents.dream.dreamer_v3",
        agent="DreamerV3",
        config="DreamerV3Config",
        use=_DREAMS,
        summary="an actor-critic that lives in a recurrent model with categorical latents; one setting for all",
        paper="Hafner et al. 2025",
        obs=_ALL,
        action=(Box, Discrete),
        presets=DREAMER_V3_PRESETS,
    ),
    "world-models": Entry(
        module="forethought.agents.dream.world_models",
        agent="WorldModels",
        config="WorldModelsConfig",
        use=_DREAMS,
        summary="a linear policy on what an autoencoder sees and a recurrent model remembers, evolved in its dreams",
        paper="Ha & Schmidhuber 2018",
        obs=("image",),
        action=(Box, Discrete),
        presets=WORLD_MODELS_PRESETS,
    ),
    "random-shooting": _planning(
        "RandomShootingConfig", "the best of many random plans, evaluated by an ensemble", "Nagabandi et al. 2018"
    ),
    "cem": _planning(
        "CEMConfig",
        "plans by the cross-entropy method, evaluated by an ensemble",
        "Rubinstein 1999",
        presets=CEM_PRESETS,
    ),
    "icem": _planning(
        "ICEMConfig",
        "the cross-entropy method with fewer, better used samples",
        "Pinneri et al. 2020",
        presets=CEM_PRESETS,
    ),
    "mppi": _planning("MPPIConfig", "plans averaged by their value, evaluated by an ensemble", "Williams et al. 2017"),
    "pets": _planning(
        "PETSConfig",
        "the cross-entropy method on particles through a probabilistic ensemble",
        "Chua et al. 2018",
        module="pets",
        presets=PETS_PRESETS,
    ),
    "poplin-a": _planning(
        "POPLINAConfig",
        "plans around the actions of a policy that is distilled from plans",
        "Wang & Ba 2019",
        module="poplin",
        presets=POPLIN_A_PRESETS,
        agent="POPLIN",
    ),
    "poplin-p": _planning(
        "POPLINPConfig",
        "plans in the parameters of a policy that is distilled from plans",
        "Wang & Ba 2019",
        module="poplin",
        presets=POPLIN_P_PRESETS,
        agent="POPLIN",
    ),
}


def find(name: str) -> Entry:
    """The entry of that name; raises `UsageError` with the nearest names."""
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise UsageError(f"there is no algorithm {brief(name)}; {nearest(name, ALGORITHMS)}")
    return ALGORITHMS[name]


def require_fit(name: str, spec: EnvSpec) -> None:
    """Raise `UsageError`, naming the algorithms that can, where ``name`` cannot take this environment."""
    misfit = find(name).misfit(spec)
    if misfit is None:
        return
    able = [other for other, entry in ALGORITHMS.items() if entry.misfit(spec) is None]
    way_out = f"use {' or '.join(able)}" if able else "no algorithm here takes it yet"
    raise UsageError(f"{name} cannot learn {spec.id}: {misfit}; {find(name).seen_otherwise(spec)}{way_out}")


def find_preset(name: str, preset: str | None, env_id: str) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """The preset asked for, else the one made for this environment: name, settings by dotted name, env_kwargs.

    ``"none"`` asks for the papers' plain defaults, ``"fitted"`` for those that environments without a preset get.
    Raises `UsageError` for an unknown preset, with the nearest names.
    """
    presets = find(name).presets
    if preset in ("none", "fitted"):
        return None, {}, {}
    if preset is None:
        preset = next((key for key, p in presets.items() if p.env == env_id), None)
        if preset is None:
            return None, {}, {}
    if not isinstance(preset, str) or preset not in presets:
        raise UsageError(f"{name} has no preset {brief(preset)}; {nearest(preset, [*presets, 'none', 'fitted'])}")
    return preset, dict(presets[preset].settings), dict(presets[preset].env_kwargs)


def _sees(space: Space) -> _Sees:
    if isinstance(space, Box):
        return "image" if is_image(space) else "vector"
    return "dict" if isinstance(space, Parts) else "discrete"


def _describe(space: Space) -> str:
    if isinstance(space, Parts):
        return ", ".join(f"{name}: {_describe(part)}" for name, part in space.named)
    return f"Box{space.shape}" if isinstance(space, Box) else f"Discrete({space.n})"
