"""Where the time of a run goes, and what JAX compiles meanwhile."""

import time

import jax


class Clock:
    """Seconds spent by kind of work. Compilation is counted apart, by what JAX itself reports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def measure(self, name: str) -> "_Charge":
        """Charge the time of the block to ``name``, less what compilation took in it."""
        return _Charge(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Charge seconds to a name."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class _Charge:
    """The block that `Clock.measure` begins; a class, because a generator costs twice as much at each of ten blocks
    per step.
    """

    __slots__ = ("clock", "compiled", "name", "start")

    def __init__(self, clock: Clock, name: str):
        self.clock, self.name = clock, name

    def __enter__(self) -> None:
        self.compiled, self.start = _compiled["seconds"], time.perf_counter()

    def __exit__(self, *error: object) -> None:
        compiling = _compiled["seconds"] - self.compiled
        self.clock.add(self.name, time.perf_counter() - self.start - compiling)
        if compiling:
            self.clock.add("compile", compiling)


_compiled = {"seconds": 0.0, "programs": 0}


def _on_compile_event(event: str, duration_secs: float, **kwargs: str | int) -> None:
    if event in ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration"):
        _compiled["seconds"] += duration_secs
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled["seconds"] += duration_secs
        _compiled["programs"] += 1


jax.monitoring.register_event_duration_secs_listener(_on_compile_event)


def compile_seconds() -> float:
    """Seconds that JAX has spent tracing and compiling in this process."""
    return _compiled["seconds"]


def compiled_programs() -> int:
    """Programs that JAX has compiled in this process."""
    return int(_compiled["programs"])
