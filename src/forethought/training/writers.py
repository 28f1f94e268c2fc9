"""Metrics sent elsewhere as well, to TensorBoard or Weights & Biases. ``metrics.jsonl`` stays the record of a run."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from forethought.errors import MissingExtra
from forethought.training.config import WRITERS


@runtime_checkable
class Writer(Protocol):
    """Takes named numbers at an environment step."""

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Send numbers."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class TensorBoard:
    """Event files in the run directory: ``tensorboard --logdir RUN``."""

    def __init__(self, path: Path, config: dict[str, Any]):
        from tensorboard.summary import Writer

        self.writer = Writer(os.fspath(path / "tensorboard"))

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Send numbers."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Send what is left."""
        self.writer.close()


class WandB:
    """A run of Weights & Biases; its settings come from the WANDB_* variables."""

    def __init__(self, path: Path, config: dict[str, Any]):
        import wandb

        self.run = wandb.init(dir=path, name=path.name, id=path.name, config=config, resume="allow")

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Send numbers."""
        self.run.log({**values, "env_steps": step})

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()


def require_writers(names: Sequence[str]) -> None:
    """Raise `MissingExtra` where a writer's package is not installed."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(f"--writers {name}", name) from error


def open_writers(names: Sequence[str], path: Path, config: dict[str, Any]) -> list[Writer]:
    """The writers of those names, which `require_writers` has found to be there."""
    kinds: dict[str, type[TensorBoard] | type[WandB]] = dict(zip(WRITERS, (TensorBoard, WandB), strict=True))
    return [kinds[name](path, config) for name in names]


def flat(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of one line of metrics: lists per seed become their means, nested ones get dotted names."""
    values: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            values.update({f"{name}.{inner}": number for inner, number in flat(value).items()})
        elif isinstance(value, list) or (isinstance(value, int | float) and not isinstance(value, bool)):
            values[name] = float(np.mean(value))
    return values
