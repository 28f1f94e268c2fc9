"""A policy that `forethought export` wrote, in plain NumPy: neither JAX nor forethought is needed.

Copy this file and the ``.npz`` beside it to wherever the policy is to act::

    from numpy_policy import Policy

    policy = Policy("policy.npz")
    action = policy(obs)  # one observation or a batch, the environment's own units in and out
"""

import json

import numpy as np

FORMAT = 2


def _relu(x):
    return np.maximum(x, 0.0)


class Policy:
    """Observations in, actions out; it does not explore and remembers nothing."""

    def __init__(self, path):
        with np.load(path, allow_pickle=False) as held:
            self.arrays = {name: held[name] for name in held.files}
        self.about = json.loads(str(self.arrays.pop("about")))
        if self.about["format"] != FORMAT:
            raise ValueError(f"{path} has format {self.about['format']}, this file reads {FORMAT}")

    def __call__(self, obs):
        """The action for one observation, or actions for a batch [n, ...] (of dicts: a dict of batches)."""
        seen = self._seen(obs)
        single = seen.ndim == (0 if self.about["kind"] == "table" else 1)
        action = self._own(self._act(seen[None] if single else seen))
        return action[0] if single else action

    def _act(self, seen):
        """From the agent's point of view: vectors [n, d] or numbers [n] to vectors in [-1, 1] or numbers."""
        if self.about["kind"] == "table":
            return np.argmax(self.arrays["q"][seen], axis=-1)
        limit = self.arrays["limit"]
        x = np.clip((seen - self.arrays["mean"]) / self.arrays["std"], -limit, limit)
        layers = self.about["layers"]
        activation = np.tanh if self.about["activation"] == "tanh" else _relu
        for i in range(layers):
            x = x @ self.arrays[f"weight{i}"] + self.arrays[f"bias{i}"]
            x = activation(x) if i < layers - 1 else x
        if self.about["output"] == "argmax":
            return np.argmax(x, axis=-1)
        return np.tanh(x) if self.about["output"] == "tanh" else np.clip(x, -1.0, 1.0)

    def _seen(self, obs):
        """An observation, or a batch, as one float32 vector, or as numbers from 0."""
        spaces = self.about["spaces"]
        if self.about["kind"] == "table":
            return np.asarray(obs) - spaces["obs_start"]
        keys, shapes = spaces["obs_keys"], [tuple(shape) for shape in spaces["obs_parts"]]
        parts = [np.asarray(part, np.float32) for part in ([obs[key] for key in keys] if keys else [obs])]
        flat = []
        for part, own in zip(parts, shapes, strict=True):
            split = part.ndim - len(own)
            if split not in (0, 1) or part.shape[split:] != own:
                raise ValueError(f"the observation must have the shape {own}, or [n, ...] of it, not {part.shape}")
            flat.append(part.reshape(*part.shape[:split], -1))
        seen = np.concatenate(flat, axis=-1)
        if not np.isfinite(seen).all():
            raise ValueError(f"the policy got an observation that is not finite: {obs}")
        return seen

    def _own(self, action):
        """Actions in the environment's own units."""
        spaces = self.about["spaces"]
        if self.about["output"] == "argmax":
            return action + spaces["action_start"]
        low, high = np.asarray(spaces["action_low"]), np.asarray(spaces["action_high"])
        unit = np.clip(action.astype(np.float64), -1.0, 1.0)
        own = np.clip(0.5 * ((1.0 - unit) * low + (1.0 + unit) * high), low, high)
        if np.dtype(spaces["action_dtype"]).kind in "iu":
            own = np.rint(own)
        return own.astype(spaces["action_dtype"]).reshape(len(action), *spaces["action_shape"])
