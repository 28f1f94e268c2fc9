"""From what is asked for to a complete config: presets, defaults that fit the budget, and the settings given."""

from collections.abc import Mapping
from typing import Any

from forethought.agents import catalog, defaults
from forethought.agents.ensemble import EnsembleConfig
from forethought.envs import Source, source_of
from forethought.errors import UsageError, brief, nearest, require_count
from forethought.models.taught import Function
from forethought.training.config import RUN_FIELDS, Given, RunConfig, coerced, flatten, from_dict, to_dict
from forethought.training.given import named

_OPTIONS = sorted({*RUN_FIELDS, "run", "progress"} - {"algorithm", "env"})


def configure(
    algorithm: str,
    env: Any,
    *,
    preset: str | None = None,
    agent: Mapping[str, Any] | None = None,
    reward: Function = None,
    termination: Function = None,
    with_data: bool = False,
    **options: Any,
) -> RunConfig:
    """A complete `RunConfig`: the preset for this environment or else the fitted defaults, over it the settings given.

    ``with_data``: there are transitions to begin with. Raises `UsageError` for unknown names and impossible values.
    """
    unknown = [name for name in options if name not in RUN_FIELDS]
    if unknown:
        raise UsageError(f"train takes no option {brief(unknown[0])}; {nearest(unknown[0], _OPTIONS)}")
    if options.get("num_envs") is None:
        options.pop("num_envs", None)
    options = coerced(RunConfig, options)
    require_count("steps", options["steps"], 0 if options.get("pretrain") else 1)
    entry = catalog.find(algorithm)
    _, config_class = entry.load()
    source = source_of(env)
    functions = {"reward": named("reward", reward), "termination": named("termination", termination)}
    for what, (name, _) in functions.items():
        if name is not None and not issubclass(config_class, EnsembleConfig):
            raise UsageError(f"{algorithm} takes no {what} function: it has no model of vectors that could use one")
    given = flatten(agent or {})
    if with_data:
        given = {**entry.with_data(), **given}
        options["pretrain"] = options.get("pretrain") or (1 if options["steps"] else 0)
    elif options.get("pretrain"):
        raise UsageError("pretrain is learning from data before the first step; say from which: --data FILE")
    length = options["steps"] + options.get("pretrain", 0)
    _, _, env_kwargs = catalog.find_preset(algorithm, preset, source.id)
    preset, settings = settings_for(algorithm, preset, source.id, length, given)
    chosen: Any = from_dict(config_class, {**settings, **given})
    options["env_kwargs"] = _env_kwargs(source, env_kwargs, options.get("env_kwargs", {}))
    options.update({what: name for what, (name, _) in functions.items()})
    objects = Given(source.maker, *(function for _, function in functions.values()))
    options.setdefault("num_envs", entry.presets[preset].num_envs if preset else 1)
    options.setdefault("eval_every", max(1, length // entry.evaluations))
    options.setdefault("eval_episodes", entry.eval_episodes)
    options.setdefault("log_every", max(1, min(1000, length // 100)))
    config = RunConfig(
        algorithm=algorithm, env=source.id, preset=preset, agent=to_dict(chosen), given=objects, **options
    )
    config.validate()
    return config


def _env_kwargs(source: Source, of_preset: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    if source.env_kwargs is None:
        return {**of_preset, **own}
    other = own.keys() - {"max_episode_steps"}
    if other:
        raise UsageError(
            f"env_kwargs {sorted(other)} go to a class or a function that makes the environment; {source.id} is made "
            "already"
        )
    return {**source.env_kwargs, **own}


def settings_for(
    algorithm: str, preset: str | None, env: str, steps: int, given: Mapping[str, Any] | None = None
) -> tuple[str | None, dict[str, Any]]:
    """The preset asked for, else the one made for this environment, else the defaults fitted to ``steps``.

    Returns its name (None for defaults) and settings by dotted name; ``given`` are the user's own settings.
    """
    chosen, settings, _ = catalog.find_preset(algorithm, preset, env)
    if chosen is None and preset != "none":
        settings = defaults.fitted(plain(algorithm), steps, given or {})
    return chosen, settings


def whose_defaults(algorithm: str, preset: str | None, steps: int, *, fitted: bool) -> str:
    """A sentence on the defaults that a help shows; none where they are the algorithm's own, whatever is asked for."""
    if preset:
        return f" Defaults are those of the preset {preset} ({catalog.find(algorithm).presets[preset].source})."
    if fitted and defaults.follow_the_budget(plain(algorithm)):
        return f" Defaults that follow the budget are those for {steps:,} steps; --steps N --help shows others."
    return ""


def plain(algorithm: str) -> dict[str, Any]:
    """An algorithm's defaults by dotted name."""
    return flatten(to_dict(catalog.find(algorithm).load()[1]()))
