"""What a run is asked to do, as data: written to ``config.json``, enough to begin the run again."""

import dataclasses
import json
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from forethought.errors import (
    MOST_SEED,
    BadSetting,
    UsageError,
    as_whole,
    brief,
    nearest,
    require_count,
    require_finite,
    require_seed,
)

T = TypeVar("T")

WRITERS = ("tensorboard", "wandb")  # where metrics can be sent besides the run directory


class Given(NamedTuple):
    """Code that the user has handed over from Python: what makes the environment, its reward and its termination."""

    env: Callable[..., Any] | None = None
    reward: Callable[..., Any] | None = None
    termination: Callable[..., Any] | None = None


@dataclass(frozen=True)
class RunConfig:
    """One run. ``agent`` holds every setting of the agent, also those that were left at their defaults.

    ``env``, ``reward`` and ``termination`` are names. What was ``given`` as an object is used in place of what its name
    leads to, and is no part of the data.
    """

    algorithm: str
    env: str
    steps: int
    seed: int = 0
    seeds: int = 1
    num_envs: int = 1
    workers: int = 1
    action_repeat: int = 1
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    pixels: int = 0
    preset: str | None = None
    eval_every: int = 1000
    eval_episodes: int = 10
    log_every: int = 250
    checkpoint_every: int | None = None
    keep: int = 2
    baselines: bool = True
    writers: tuple[str, ...] = ()
    reward: str | None = None
    termination: str | None = None
    data: dict[str, Any] | None = None  # the transitions it was given: source, rows and sha256
    pretrain: int = 0
    agent: dict[str, Any] = field(default_factory=dict)
    given: Given = field(default=Given(), compare=False, metadata={"kept": False})

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds that train side by side."""
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def rows(self) -> int:
        """Transitions per seed that there will be: those that it was given, and its steps."""
        return self.steps + (self.data["rows"] if self.data else 0)

    def index_of(self, seed: int | None) -> int:
        """The place of a seed among those of the run, 0 for None; raises `UsageError` for one that it has not."""
        if seed is None:
            return 0
        if seed not in self.seed_list:
            held = f"seeds {self.seed} to {self.seed_list[-1]}" if self.seeds > 1 else f"seed {self.seed}"
            raise UsageError(f"the run has {held}, not {seed}")
        return self.seed_list.index(seed)

    def validate(self) -> None:
        """Raise `UsageError` for numbers that no run can have."""
        if self.data is not None:
            require_count("data.rows", self.data.get("rows"))
        require_count("pretrain", self.pretrain, 0)
        require_count("pixels", self.pixels, 0)
        counts = "steps", "seeds", "num_envs", "workers", "action_repeat", "eval_every", "eval_episodes", "log_every"
        for name in (*counts, "keep"):
            require_count(name, getattr(self, name), 0 if name == "steps" and self.pretrain else 1)
        for name in self.writers:
            if name not in WRITERS:
                raise UsageError(f"there is no writer {name!r}; {nearest(name, WRITERS)}")
        require_seed("seed", self.seed)
        if self.seed + self.seeds - 1 > MOST_SEED:
            raise UsageError(f"{self.seeds:,} seeds from {self.seed} on go beyond the last one, {MOST_SEED:,}")
        if self.checkpoint_every is not None:
            require_count("checkpoint_every", self.checkpoint_every)
        _require_json(self.env_kwargs)


RUN_FIELDS = tuple(f.name for f in dataclasses.fields(RunConfig) if f.metadata.get("kept", True))  # of config.json


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) config dataclass as JSON values."""
    return {
        f.name: to_dict(v) if dataclasses.is_dataclass(v) else (list(v) if isinstance(v, tuple) else v)
        for f in dataclasses.fields(config)
        if f.metadata.get("kept", True)
        for v in [getattr(config, f.name)]
    }


def from_dict(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """The config dataclass with these values over its defaults.

    Keys may be nested mappings or dotted (``"fit.max_epochs"``). Raises `UsageError` for an unknown field, with the
    nearest names, and for a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = str(key).replace("-", "_").partition(".")
        if head not in hints:
            raise UsageError(f"there is no setting {brief(path + head)}; {nearest(head, hints)}")
        if dataclasses.is_dataclass(hints[head]):
            nested = {rest: value} if rest else value
            if not isinstance(nested, Mapping):
                raise UsageError(f"{path + head} takes settings by name, not {brief(value)}")
            chosen[head] = {**chosen.get(head, {}), **nested}
        elif rest:
            raise UsageError(f"{path + head} has no setting {brief(rest)}: it is a plain value")
        else:
            chosen[head] = _coerce(hints[head], value, path + head)
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.name in chosen and dataclasses.is_dataclass(hints[f.name]):
            # Over this field's own default, which need not be the default of its class.
            made = f.default_factory is not dataclasses.MISSING
            default = flatten(to_dict(f.default_factory())) if made else {}  # type: ignore[operator, misc]
            values = {**default, **flatten(chosen[f.name])}
            chosen[f.name] = from_dict(hints[f.name], values, f"{path}{f.name}.")
    try:
        return cls(**chosen)
    except BadSetting as error:
        raise error.below(path) from None


def coerced(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as their fields of the dataclass take them; raises `UsageError` for those that no field takes."""
    hints = typing.get_type_hints(cls)
    return {name: _coerce(hints[name], value, name) for name, value in values.items()}


def merged(config: T, values: Mapping[str, Any]) -> T:
    """A config with some values replaced, by dotted or nested names."""
    flat = {**flatten(to_dict(config)), **flatten(values)}
    return from_dict(type(config), flat)


def flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    if not isinstance(values, Mapping):
        raise UsageError(f"settings come by name, as in {{'discount': 0.99}}, not as {brief(values)}")
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{path}{str(key).replace('-', '_')}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    tuple: "a list",
    dict: "a dict",
    type(None): "None",
}


def _coerce(hint: Any, value: Any, name: str) -> Any:
    """JSON and NumPy values as the field's type: lists become tuples, whole numbers floats where a float is meant."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is type(None):
            if value is None:
                return None
        elif typing.get_origin(option) is typing.Literal:
            options = typing.get_args(option)
            if value in options:
                return value
        elif typing.get_origin(option) is tuple:
            if isinstance(value, list | tuple):
                item = typing.get_args(option)[0]
                return tuple(_coerce(item, v, name) for v in value)
        elif option is float:
            if isinstance(value, numbers.Real) and not isinstance(value, bool):
                return _finite(value, name)
        elif option is int:
            if (count := as_whole(value)) is not None:
                return count
        elif option is bool:
            if isinstance(value, bool | np.bool_):
                return bool(value)
        elif isinstance(value, typing.get_origin(option) or option):
            return value
    wanted = " or ".join(_WORDS.get(typing.get_origin(o) or o, repr(o)) for o in options)
    raise UsageError(f"{name} is {brief(value)}; it takes {wanted}")


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:  # an int of hundreds of digits
        number = float("inf")
    require_finite(name, number)
    return number


def _require_json(env_kwargs: Mapping[str, Any]) -> None:
    """Raise `UsageError` for arguments that ``config.json`` cannot hold."""
    for name, value in env_kwargs.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"env_kwargs has {name}={brief(value)}, which a run cannot write down as JSON ({brief(error)}); "
                "register an environment that makes it by itself from numbers and text"
            ) from error
