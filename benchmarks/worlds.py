"""Environments as users bring them: observations and actions in units of their own, no preset made for them.

Scales run from thousandths to ten thousands; two rewards and two observations jump. Each stands beside a controller
made by hand, which an engineer would write first and which a learned policy has to beat.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np


class World(NamedTuple):
    """An environment id and a controller for it: one observation in, one action out, both in own units."""

    env: str
    controller: Callable[[np.ndarray], float]


class _Plant(gymnasium.Env):
    """What all have in common: one action; a subclass gives limits, a start, and what one time step does."""

    obs_low: tuple[float, ...]
    obs_high: tuple[float, ...]
    action_low: float
    action_high: float

    def __init__(self) -> None:
        low, high = np.array(self.obs_low, np.float32), np.array(self.obs_high, np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high)
        self.action_space = gymnasium.spaces.Box(self.action_low, self.action_high, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.t = 0
        self.state = np.asarray(self.begin(self.np_random), float)
        return self.seen(), {}

    def step(self, action: np.ndarray):
        low, high = self.action_low, self.action_high
        self.state, reward, ended = self.advance(self.state, min(max(float(action[0]), low), high))
        self.t += 1
        return self.seen(), float(reward), bool(ended), False, {}

    def seen(self) -> np.ndarray:
        return np.clip(self.state, self.obs_low, self.obs_high).astype(np.float32)

    def begin(self, rng: np.random.Generator) -> Any:
        raise NotImplementedError

    def advance(self, state: np.ndarray, action: float) -> tuple[np.ndarray, float, bool]:
        raise NotImplementedError


class House(_Plant):
    """A day of heating, in quarters of an hour: what heat costs at a price that jumps, and what cold costs.

    Observed: room, walls and air outside (°C), hour, sun (W/m²), price (ct/kWh). Action: heat (kW).
    """

    obs_low, obs_high = (-30.0, -30.0, -30.0, 0.0, 0.0, 0.0), (60.0, 60.0, 50.0, 24.0, 1000.0, 100.0)
    action_low, action_high = 0.0, 6.0

    def begin(self, rng):
        self.cold = rng.uniform(-8.0, 6.0)
        return self._with_weather(rng.uniform(15.0, 21.0), rng.uniform(14.0, 18.0), 0.0)

    def advance(self, state, heat):
        room, walls, outside, hour, sun, price = state
        quarter = 0.25
        cost = price / 100.0 * heat * quarter + 0.4 * max(0.0, 20.0 - room) ** 2 * quarter
        flow = 1.2 * heat + 0.6 * (walls - room) + 0.12 * (outside - room) + 0.002 * sun
        walls = walls + quarter * (0.08 * (room - walls) + 0.02 * (outside - walls))
        return self._with_weather(room + quarter * flow, walls, (hour + quarter) % 24.0), -cost, False

    def _with_weather(self, room: float, walls: float, hour: float) -> np.ndarray:
        outside = self.cold + 4.0 * np.sin(2 * np.pi * (hour - 9.0) / 24.0)
        sun = 500.0 * max(0.0, np.sin(2 * np.pi * (hour - 6.0) / 24.0))
        price = 45.0 if 17.0 <= hour < 21.0 else 30.0 if 6.0 <= hour < 17.0 else 15.0
        return np.array([room, walls, outside, hour, sun, price])


class KelvinHouse(_Plant):
    """A room to be kept at 294 K, in minutes of five. Observed: room, walls, air outside (K). Action: heat (W)."""

    obs_low, obs_high = (200.0, 200.0, 200.0), (400.0, 400.0, 400.0)
    action_low, action_high = 0.0, 6000.0

    def begin(self, rng):
        return [rng.uniform(284.0, 298.0), rng.uniform(284.0, 292.0), rng.uniform(262.0, 282.0)]

    def advance(self, state, heat):
        room, walls, outside = state
        cost = (room - 294.0) ** 2 / 4.0 + heat / 12_000.0
        flow = 0.4 * heat / 1000.0 + 0.15 * (walls - room) + 0.04 * (outside - room)
        walls = walls + 0.03 * (room - walls) + 0.01 * (outside - walls)
        return np.array([room + flow, walls, outside]), -cost, False


class Tanks(_Plant):
    """Two tanks in a row; the level of the second follows a set point that jumps, the first must not run over.

    Observed: both levels and the set point (mm), inflow (l/h). Action: opening of the inlet (%).
    """

    obs_low, obs_high = (0.0, 0.0, 0.0, 0.0), (3000.0, 3000.0, 3000.0, 20_000.0)
    action_low, action_high = 0.0, 100.0

    def begin(self, rng):
        self.goals = rng.uniform(300.0, 900.0, 10)
        return [rng.uniform(200.0, 1200.0), rng.uniform(200.0, 1200.0), self.goals[0], 0.0]

    def advance(self, state, opening):
        first, second, goal, _ = state
        inflow = 120.0 * opening
        cost = abs(second - goal) / 100.0 + (5.0 if first > 1400.0 else 0.0)
        through, out = 3.2 * np.sqrt(first), 3.2 * np.sqrt(second)
        first, second = first + inflow / 60.0 - through, second + through - out
        goal = self.goals[(self.t + 1) // 25]
        return np.array([np.clip(first, 0.0, 3000.0), np.clip(second, 0.0, 3000.0), goal, inflow]), -cost, False


class Cart(_Plant):
    """A cart to be brought to rest in the middle. Observed: place (mm), speed (mm/s). Action: force (N)."""

    obs_low, obs_high = (-20_000.0, -20_000.0), (20_000.0, 20_000.0)
    action_low, action_high = -20.0, 20.0

    def begin(self, rng):
        return rng.uniform((-2000.0, -1000.0), (2000.0, 1000.0))

    def advance(self, state, force):
        place, speed = state
        cost = (place / 1000.0) ** 2 + 0.1 * (speed / 1000.0) ** 2 + 0.2 * (force / 20.0) ** 2
        place, speed = place + 0.05 * speed, speed + 0.05 * (force / 4.0 * 1000.0 - 0.3 * speed)
        return np.clip([place, speed], -20_000.0, 20_000.0), -cost, False


class Reactor(_Plant):
    """A stirred tank whose reaction gives off heat, to be held where it is not stable.

    Observed: concentration (mol/l), temperature (K). Action: temperature of the jacket (K). Constants are those of
    the stirred tank in Seborg, Edgar & Mellichamp, "Process Dynamics and Control", after Henson & Seborg (1997).
    """

    obs_low, obs_high = (0.0, 200.0), (1.0, 700.0)
    action_low, action_high = 280.0, 320.0

    def begin(self, rng):
        return rng.uniform((0.4, 335.0), (0.7, 360.0))

    def advance(self, state, jacket):
        concentration, temperature = state
        cost = ((temperature - 350.0) / 10.0) ** 2
        for _ in range(10):  # 0.05 min by Euler's rule, implicit in what reacts: at 600 K that is gone within a step
            speed = 7.2e10 * np.exp(-8750.0 / temperature)
            concentration = (concentration + 0.005) / (1.0 + 0.005 * (1.0 + speed))
            heat = 209.2 * speed * concentration + 2.092 * (jacket - temperature)
            temperature = np.clip(temperature + 0.005 * (350.0 - temperature + heat), 250.0, 600.0)
        return np.array([concentration, temperature]), -cost, False


class Drone(_Plant):
    """A height to be held in wind; on the ground the flight is over.

    Observed: height (cm), climb (cm/s), battery (mV), wind (m/s). Action: throttle (%).
    """

    obs_low, obs_high = (-1000.0, -3000.0, 9000.0, -20.0), (10_000.0, 3000.0, 13_000.0, 20.0)
    action_low, action_high = 0.0, 100.0

    def begin(self, rng):
        self.rng = rng
        return [rng.uniform(400.0, 1600.0), rng.uniform(-100.0, 100.0), rng.uniform(12_000.0, 12_600.0), 0.0]

    def advance(self, state, throttle):
        height, climb, battery, wind = state
        lift = 19.6 * throttle / 100.0 * (battery / 12_000.0) ** 2
        climb = climb + 5.0 * (lift - 9.81 + 0.2 * wind - 0.004 * climb)
        height = height + 0.05 * climb
        battery = battery - 0.05 * throttle
        wind = 0.95 * wind + 0.3 * self.rng.normal()
        crashed = height <= 0.0
        reward = -10.0 if crashed else 1.0 - min(2.0, abs(height - 1000.0) / 500.0)
        state = np.array([min(height, 9000.0), np.clip(climb, -3000.0, 3000.0), battery, np.clip(wind, -20.0, 20.0)])
        return state, reward, crashed


def _thermostat(obs: np.ndarray) -> float:
    return 6.0 if obs[0] < 20.0 else 0.0


def _proportional(obs: np.ndarray) -> float:
    return 1500.0 * (294.5 - obs[0]) + 1000.0


def _levels(obs: np.ndarray) -> float:
    wanted = obs[2] + 1.5 * (obs[2] - obs[1])  # of the first tank
    return 100.0 if obs[0] < min(wanted, 1350.0) else 0.0


def _damped_spring(obs: np.ndarray) -> float:
    return -0.011 * obs[0] - 0.009 * obs[1]


def _jacket(obs: np.ndarray) -> float:
    return 300.0 - 4.0 * (obs[1] - 350.0)


def _hover(obs: np.ndarray) -> float:
    return 50.0 * (12_000.0 / obs[2]) ** 2 + 0.06 * (1000.0 - obs[0]) - 0.08 * obs[1]


_STEPS: dict[type[_Plant], int] = {House: 96, KelvinHouse: 100, Tanks: 200, Cart: 100, Reactor: 100, Drone: 200}
for _class, _limit in _STEPS.items():
    gymnasium.register(f"{_class.__name__}-v0", entry_point=f"{__name__}:{_class.__name__}", max_episode_steps=_limit)

WORLDS: dict[str, World] = {
    "house": World("benchmarks.worlds:House-v0", _thermostat),
    "kelvin house": World("benchmarks.worlds:KelvinHouse-v0", _proportional),
    "tanks": World("benchmarks.worlds:Tanks-v0", _levels),
    "cart": World("benchmarks.worlds:Cart-v0", _damped_spring),
    "reactor": World("benchmarks.worlds:Reactor-v0", _jacket),
    "drone": World("benchmarks.worlds:Drone-v0", _hover),
}
