import pytest

from forethought.agents.catalog import ALGORITHMS, find, find_preset, require_fit
from forethought.envs.given import full_name
from forethought.errors import UsageError
from forethought.training.config import from_dict, to_dict
from forethought.types import Box, Discrete, EnvSpec, Parts

VECTOR = EnvSpec("Vector-v0", Box((3,)), Box((1,)))
TABLE = EnvSpec("Table-v0", Discrete(4), Discrete(2))
PIXELS = EnvSpec("Pixels-v0", Box((8, 8, 3), "uint8"), Box((1,)))
MIXED = EnvSpec("Mixed-v0", Box((3,)), Discrete(2))
BOTH = EnvSpec("Both-v0", Parts((("see", PIXELS.obs), ("feel", VECTOR.obs))), Discrete(2))
TABLES = "dyna-q", "dyna-q-plus", "prioritized-sweeping"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_entry_is_found_and_loads(name):
    agent, config = find(name).load()
    assert (agent.__name__, config.__name__) == (ALGORITHMS[name].agent, ALGORITHMS[name].config)


def test_unknown_names_get_the_nearest_ones():
    with pytest.raises(UsageError, match=r"no algorithm 'dynaq'; did you mean 'dyna-q' or 'dyna-q-plus' or 'dqn'\?"):
        find("dynaq")
    with pytest.raises(UsageError, match="known: cem, dqn, dreamer-v1, dreamer-v2, dreamer-v3, dyna-q"):
        find("zzz")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_agent_fits_its_own_spaces_alone(name):
    all_of_them = {TABLE, VECTOR, MIXED, PIXELS, BOTH}
    special = {"dqn": {TABLE, MIXED, BOTH}, "ppo": all_of_them, "planet": {VECTOR, PIXELS}, "world-models": {PIXELS}}
    special |= {f"dreamer-v{i}": all_of_them for i in (1, 2, 3)}
    own = special.get(name, {TABLE} if name in TABLES else {VECTOR})
    for spec in own:
        require_fit(name, spec)
    for spec in all_of_them - own:
        with pytest.raises(UsageError, match=f"{name} cannot learn {spec.id}"):
            require_fit(name, spec)


def test_a_misfit_names_the_reason_and_the_way_out():
    with pytest.raises(UsageError) as error:
        require_fit("sac", TABLE)
    assert str(error.value) == (
        "sac cannot learn Table-v0: it takes vector observations and continuous actions, Table-v0 has discrete "
        "observations (Discrete(4)) and Discrete(2); use dyna-q or dyna-q-plus or prioritized-sweeping or dqn or ppo "
        "or dreamer-v1 or dreamer-v2 or dreamer-v3"
    )
    with pytest.raises(UsageError, match=r"vector or image or discrete or dict observations and discrete actions, Vec"):
        require_fit("dqn", VECTOR)
    with pytest.raises(
        UsageError, match=r"Pixels-v0 has image observations \(Box\(8, 8, 3\)\).*; leave out --pixels where .* use ppo"
    ):
        require_fit("mbpo", PIXELS)
    with pytest.raises(UsageError, match=r"; let it see pictures .*\(--pixels 64\), or use sac"):
        require_fit("world-models", VECTOR)
    with pytest.raises(
        UsageError, match=r"planet cannot learn Mixed-v0: .* continuous actions, Mixed-v0 has .*Discrete"
    ):
        require_fit("planet", MIXED)
    with pytest.raises(UsageError, match=r"has dict observations \(see: Box\(8, 8, 3\), feel: Box\(3,\)\)"):
        require_fit("sac", BOTH)


def test_presets_are_found_by_environment_or_by_name():
    by_env = find_preset("mbpo", None, "Hopper-v5")
    assert by_env[0] == "hopper"
    assert by_env == find_preset("mbpo", "hopper", "Walker2d-v5")
    assert by_env[1]["schedule.last"] == 15
    assert find_preset("mbpo", None, "Ant-v5")[2] == {"include_cfrc_ext_in_observation": False}
    assert find_preset("mbpo", "none", "Hopper-v5") == (None, {}, {})
    assert find_preset("sac", None, "Hopper-v5") == (None, {}, {})
    with pytest.raises(UsageError, match="mbpo has no preset 'hoper'; did you mean 'hopper'"):
        find_preset("mbpo", "hoper", "Hopper-v5")


def test_a_preset_is_a_copy():
    find_preset("mbpo", "hopper", "Hopper-v5")[1]["schedule.last"] = 99
    assert find_preset("mbpo", "hopper", "Hopper-v5")[1]["schedule.last"] == 15


@pytest.mark.parametrize(("name", "preset"), [(n, p) for n, entry in ALGORITHMS.items() for p in entry.presets])
def test_every_preset_is_a_config_and_gives_a_source(name, preset):
    chosen = ALGORITHMS[name].presets[preset]
    flat = to_dict(from_dict(find(name).load()[1], chosen.settings))
    for key, value in chosen.settings.items():
        head, _, rest = key.partition(".")
        said = flat[head][rest] if rest else flat[head]
        assert said == (list(value) if isinstance(value, tuple) else value)
    assert chosen.source
    # As runs call it, or it would never be chosen by itself.
    assert chosen.env == full_name(chosen.env)
