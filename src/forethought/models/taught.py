"""What users know of their environments: its reward and its end, as functions of their own.

A function takes ``(obs, action, next_obs)`` with a leading axis n and gives n numbers or n truths. Observations are
the flat float32 vectors that agents see, in the environment's units; actions are flat too, in the environment's own
units. It is written with jax.numpy, or with NumPy's functions.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from forethought.errors import UsageError
from forethought.models.numpy_like import through_numpy
from forethought.names import can_be_found, found_by
from forethought.types import Box, EnvSpec

What: TypeAlias = Literal["reward", "termination"]
Function: TypeAlias = Callable[..., Any] | str | None  # itself, its name, or none


class Taught:
    """A function of the user's, called as the known ones are: with the agent's actions, in [-1, 1].

    It is imported and tried when it is first needed: whoever only loads a policy does without.
    """

    def __init__(self, what: What, name: str, function: Callable[..., Any] | None, spec: EnvSpec):
        assert isinstance(spec.obs, Box)
        assert isinstance(spec.action, Box)
        self.what, self.name, self.given = what, name, function
        self.sizes = spec.obs.shape[0], spec.action.shape[0]
        self.low = np.asarray(spec.action_low or [-1.0] * self.sizes[1], np.float32)
        self.high = np.asarray(spec.action_high or [1.0] * self.sizes[1], np.float32)
        self.whole = np.dtype(spec.action_dtype).kind in "iu"

    def __call__(
        self, obs: Float[Array, "n o"], action: Float[Array, "n a"], next_obs: Float[Array, "n o"]
    ) -> Float[Array, " n"] | Bool[Array, " n"]:
        """What is not finite ends all the same."""
        unit = jnp.clip(action, -1.0, 1.0)
        own = 0.5 * ((1.0 - unit) * self.low + (1.0 + unit) * self.high)
        own = jnp.rint(own) if self.whole else own  # as the environment is given them
        said = jnp.asarray(self.function(obs, own, next_obs))
        if self.what == "reward":
            return said.astype(jnp.float32)
        return said | ~jnp.all(jnp.isfinite(next_obs), axis=-1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "function"}  # which is found again

    def require(self) -> None:
        """Raise `UsageError` where the function is missing, or does not do what it must."""
        _ = self.function

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function as JAX can trace it."""
        function = self._found()
        if not callable(function):
            raise UsageError(f"the {self.what} {self.name} is no function")
        rows = sum(self.sizes) + 2  # as no other axis: a sum over the wrong one gives another number
        n_obs, n_action = self.sizes
        shapes = [jax.ShapeDtypeStruct((rows, n), jnp.float32) for n in (n_obs, n_action, n_obs)]
        traced = function
        try:
            said = jax.eval_shape(function, *shapes)
        except (Exception, SystemExit):
            traced = through_numpy(function)
            try:
                said = jax.eval_shape(traced, *shapes)
            except (Exception, SystemExit) as error:
                raise self._failure(function, shapes, error) from error
        self._check(said, rows)
        return traced

    def _found(self) -> Any:
        if self.given is not None:
            return self.given
        if not can_be_found(self.name):
            raise UsageError(
                f"the {self.what} function was {self.name}, which no import leads to; pass it again, from Python: "
                f"{self.what}=..."
            )
        return found_by(self.name)

    def _failure(self, function: Callable[..., Any], shapes: list[Any], error: BaseException) -> UsageError:
        """Whether the function is wrong, or only written so that JAX cannot follow it."""
        try:
            with np.errstate(all="ignore"):
                function(*(np.zeros(x.shape, np.float32) for x in shapes))
        except (Exception, SystemExit) as wrong:
            sizes = ", ".join(str(x.shape) for x in shapes)
            branches = "; jnp.where(condition, a, b) chooses for all rows, if does not" * ("ambiguous" in str(wrong))
            return UsageError(
                f"the {self.what} function {self.name} raised {_brief(wrong)} when it was given obs, action and "
                f"next_obs of the shapes {sizes}{branches}"
            )
        return UsageError(
            f"the {self.what} function {self.name} cannot be compiled ({_brief(error)}); write it with jax.numpy, "
            "for all rows at once: jnp.where(condition, a, b) in place of if and of filled arrays"
        )

    def _check(self, said: Any, rows: int) -> None:
        if not isinstance(said, jax.ShapeDtypeStruct):
            raise UsageError(f"the {self.what} function {self.name} returns {type(said).__name__}, not an array")
        if said.shape != (rows,):
            raise UsageError(
                f"the {self.what} function {self.name} returns the shape {said.shape} for {rows} rows, not ({rows},); "
                "rows come first: next_obs[:, 0] is the first number of every row, and sums are over axis=-1"
            )
        kinds = jnp.bool_ if self.what == "termination" else jnp.number
        if not jnp.issubdtype(said.dtype, kinds) or jnp.issubdtype(said.dtype, jnp.complexfloating):
            wanted = "truths, such as next_obs[:, 0] > 1" if self.what == "termination" else "real numbers"
            raise UsageError(f"the {self.what} function {self.name} returns {said.dtype}; it must return {wanted}")


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split()).split(" See https")[0].split(". ")[0]
    return f"{type(error).__name__}: {text if len(text) <= 120 else text[:117] + '...'}"
