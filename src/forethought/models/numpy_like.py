"""Functions that are written with NumPy, carried out by JAX: through NumPy's own protocols (NEP 13 and NEP 18)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from numpy.lib.mixins import NDArrayOperatorsMixin


class NumpyLike(NDArrayOperatorsMixin):
    """A traced array that NumPy's functions and operators take; their namesakes in jax.numpy do the work.

    What has to know the numbers (``if``, ``float``, filling a NumPy array) raises, as it does for a traced array.
    """

    def __init__(self, value: Any):
        self.value = value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """``np.abs(x)``, ``x + 1``, ``x += 1``, ``np.maximum.reduce(x)``."""
        function, out = getattr(jnp, ufunc.__name__), kwargs.pop("out", None)
        if method != "__call__":
            function = getattr(function, method)
        result = _wrapped(function(*_plain(inputs), **_plain(kwargs)))
        if out is None:
            return result
        (into,) = out
        into[...] = result
        return into

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """``np.where(x > 0, x, 0)``, ``np.linalg.norm(x)``."""
        home = jnp.linalg if function.__module__ == "numpy.linalg" else jnp
        return _wrapped(getattr(home, function.__name__)(*_plain(args), **_plain(kwargs)))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """NumPy wants numbers, and there are none yet."""
        return self.value.__array__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.value, name)
        return (
            (lambda *args, **kwargs: _wrapped(found(*_plain(args), **_plain(kwargs))))
            if callable(found)
            else _wrapped(found)
        )

    def __getitem__(self, index: Any) -> "NumpyLike":
        return NumpyLike(self.value[_plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        index, value = _plain(index), _plain(value)
        is_mask = isinstance(index, jax.Array) and index.dtype.kind == "b"
        if is_mask and jnp.ndim(value) == 0:  # x[x < 0] = 0
            mask = jnp.expand_dims(index, range(index.ndim, self.value.ndim))
            self.value = jnp.where(mask, value, self.value).astype(self.value.dtype)
        else:
            self.value = self.value.at[index].set(value)

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)


def through_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of JAX arrays, though it is written with NumPy."""
    return lambda *args: _plain(function(*map(NumpyLike, args)))


def _plain(tree: Any) -> Any:
    if isinstance(tree, NumpyLike):
        return tree.value
    if isinstance(tree, slice):
        return slice(*map(_plain, (tree.start, tree.stop, tree.step)))
    if isinstance(tree, list | tuple):
        return type(tree)(map(_plain, tree))
    return {name: _plain(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def _wrapped(result: Any) -> Any:
    if isinstance(result, jax.Array):
        return NumpyLike(result)
    return type(result)(map(_wrapped, result)) if type(result) in (list, tuple) else result
