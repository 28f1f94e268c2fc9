"""An agent that writes down when it learned, and a listener that stops it."""

import jax

from forethought.agents.base import Agent, Phase


class Recorder(Agent):
    """An agent that writes down the steps at which its one phase ran."""

    random_steps, replay_capacity = 0, 50

    def __init__(self, spec, every, start):
        self.spec, self.config, self._phase = spec, None, Phase("note", every, self.write_down, 3, start, "model")

    def init(self, *, key):
        return {"at": jax.numpy.zeros(20, int), "n": jax.numpy.array(0)}

    def decide(self, state, carry, *, key, explore):
        return jax.numpy.zeros((len(carry.obs), 1)), carry, ()

    def phases(self):
        return (self._phase,)

    def acts_with(self, state):
        return ()

    def write_down(self, state, replay, *, step, key):
        return {"at": state["at"].at[state["n"]].set(step), "n": state["n"] + 1}, replay, {"step": step}


class Stop(Exception):
    pass


def stopping_at(wanted, times):
    """A listener that raises when it is told this for the so manieth time."""
    said = []

    def listen(*told):
        said.append(told)
        if told == wanted and said.count(wanted) == times:
            raise Stop

    return listen
