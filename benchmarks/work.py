"""The arithmetic of a function: its matrix products and convolutions, counted in what JAX makes of it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def gflop(function: Callable[..., Any], *args: Any) -> float:
    """Multiplications and additions of its products, in billions.

    A loop counts as often as it turns (a `while` once), and of several branches, such as those for several processors,
    the one with the fewest: convolutions count as themselves, without what is multiplied by zero between their pixels.
    """
    return _of(jax.make_jaxpr(function)(*args).jaxpr) / 1e9


def _of(jaxpr: Any) -> float:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    if name == "conv_general_dilated":
        image, kernel = (x.aval for x in equation.invars)
        n_out, n_in, *_ = (kernel.shape[i] for i in params["dimension_numbers"].rhs_spec)
        # Pixels are put between others (lhs), or left out (strides); what is beside the image is nothing.
        of_outputs = equation.outvars[0].aval.size * kernel.size / n_out / math.prod(params["lhs_dilation"])
        of_inputs = image.size * kernel.size / n_in / math.prod(params["window_strides"])
        return 2.0 * min(of_outputs, of_inputs)
    inner = [_of(jaxpr) for jaxpr in _inner(params)]
    if name == "cond":
        return min(inner)
    return sum(inner) * (params["length"] if name == "scan" else 1)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part
