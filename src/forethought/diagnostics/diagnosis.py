"""What is known of how far a world model can be trusted, and the file it is kept in."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from forethought.diagnostics.bounds import Favoured
from forethought.diagnostics.calibration import Calibration
from forethought.diagnostics.exploitation import Exploitation
from forethought.diagnostics.film import Strip
from forethought.diagnostics.long_run import LongRun
from forethought.diagnostics.open_loop import Foretold, OpenLoop
from forethought.diagnostics.outcomes import Outcomes
from forethought.diagnostics.recall import Recall
from forethought.diagnostics.states import WrongStates
from forethought.diagnostics.store import from_json, to_json
from forethought.diagnostics.traces import Trace
from forethought.diagnostics.value_gap import ValueGap
from forethought.errors import CheckpointError
from forethought.files import as_path, read_object, write_atomically

FORMAT = 2


class Diagnosis(NamedTuple):
    """Everything that `measure` found; None where a measure does not apply.

    Attributes:
        horizon: imagined steps looked at.
        episodes, steps: held-out episodes, and the real steps in them.
        outcomes: reward and endings, one step ahead.
        open_loop: errors by horizon, for observations that are vectors.
        wrong_states: errors by horizon, for observations that are numbered states.
        calibration: for models whose particles differ.
        nll: negative log density of the next observation per dimension, in nats and in standard deviations of the
            observations: 1.42 is what a Gaussian fitted to all observations has, less is better.
        disagreement_rank: Spearman's correlation of disagreement and error after one step.
        value_gap: imagined less real return of the policy, or of the real actions where there is no policy.
        exploitation: how that gap grows as planning gets stronger, where there is a world to try plans in.
        long_run: where long imagined lives lead.
        favoured: the lengths of rollouts that MBPO's bound favours.
        traces: dreams beside reality.
        logged: whether the episodes were given, by whatever policy; else they were played for this.
        foretold: what of each dimension is foretold one step ahead, for observations that are vectors.
        obs_names: what to call the dimensions, where they have names. A picture is one of them.
        beside_plans: as ``value_gap``, from the very starts of ``exploitation``: what plans are to be compared with.
        latent: whether what is believed is no observation, and is decoded to be compared with one.
        recall: what is decoded of what was just seen, in latent models.
        strip: moments of a dream beside reality, where pictures are seen.
    """

    horizon: int
    episodes: int
    steps: int
    outcomes: Outcomes
    open_loop: OpenLoop | None
    wrong_states: WrongStates | None
    calibration: Calibration | None
    nll: Float[Array, ""] | None
    disagreement_rank: Float[Array, ""] | None
    value_gap: ValueGap
    exploitation: Exploitation | None
    long_run: LongRun
    favoured: Favoured | None
    traces: list[Trace]
    logged: bool = False
    foretold: Foretold | None = None
    obs_names: list[str] = []  # noqa: RUF012
    beside_plans: ValueGap | None = None
    latent: bool = False
    recall: Recall | None = None
    strip: Strip | None = None

    def obs_name(self, dimension: int) -> str:
        """What a dimension of the observation is called."""
        return self.obs_names[dimension] if dimension < len(self.obs_names) else f"observation {dimension}"


def write_diagnosis(diagnosis: Diagnosis, verdict: list[str], path: Path) -> Path:
    """Write ``diagnostics.json``. Raises `CheckpointError` where that cannot be done."""
    said = {"format": FORMAT, "verdict": verdict, **to_json(diagnosis)}
    said["sha256"] = _digest(said)
    write_atomically(path, json.dumps(said, allow_nan=False) + "\n", then="diagnose again")
    return path


def read_diagnosis(path: str | Path) -> Diagnosis:
    """What `write_diagnosis` wrote. Raises `CheckpointError` where it is something else."""
    way_out = "run `forethought diagnose` again, or remove it"
    said = read_object(as_path(path), way_out=way_out)
    if said.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {said.get('format')!r}, this version reads {FORMAT}; {way_out}")
    try:
        if said.pop("sha256") != _digest(said):
            raise ValueError("the checksum is another")
        return from_json(Diagnosis, said)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: it is damaged, or of another version; {way_out}") from error


def _digest(said: dict[str, Any]) -> str:
    """Of the content, however it is laid out."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
