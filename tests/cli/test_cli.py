"""The command line as a user meets it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from forethought import cli, policy
from forethought.agents import catalog
from forethought.numpy_policy import Policy
from forethought.training.rundir import cpu_name

TINY = [
    *["--steps", "60", "--eval-every", "30", "--eval-episodes", "2", "--log-every", "10"],
    *["--agent.hidden", "8", "8", "--agent.random-steps", "20", "--agent.batch-size", "8"],
]


def run(*args) -> int:
    return cli.main([str(a) for a in args])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "run"
    assert run("train", "sac", "Pendulum-v1", *TINY, "--run", path) == 0
    return path


def test_training_leaves_a_whole_run_behind(trained, capsys):
    kinds = [json.loads(line)["kind"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("eval") == 3  # before the first step, in the middle, at the end
    assert kinds.count("train") == 6
    config = json.loads((trained / "config.json").read_text())
    assert config["agent"]["hidden"] == [8, 8]
    assert config["agent_defaults"]["hidden"] == [256, 256]
    assert json.loads((trained / "summary.json").read_text())["status"] == "finished"
    assert (trained / "report.html").stat().st_size > 1e6


def test_eval_prints_json(trained, capsys):
    assert run("eval", trained, "--episodes", 3, "--json") == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert len(evaluated["return"]) == 1
    assert len(evaluated["return"][0]) == 3
    assert all(-2000 < r < 0 for r in evaluated["return"][0])
    assert evaluated["length"] == [[200, 200, 200]]


def test_eval_is_the_same_twice_and_differs_with_the_seed(trained, capsys):
    said = []
    for seed in (1, 1, 2):
        assert run("eval", trained, "--episodes", 2, "--seed", seed, "--json") == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


def test_eval_says_which_step_it_judges(trained, capsys):
    assert run("eval", trained, "--episodes", 2) == 0
    said = capsys.readouterr().out
    assert re.match(r"step 60: return -[\d.]+ over 2 episodes of one seed, 95 % interval over episodes \[-", said)
    assert run("eval", trained, "--episodes", 1) == 0
    assert "interval" not in capsys.readouterr().out  # of one number


def test_planners_are_judged_on_few_episodes():
    assert {catalog.find(name).final_episodes for name in ("sac", "mbpo", "dyna-q")} == {100}
    assert {catalog.find(name).final_episodes for name in ("cem", "pets", "poplin-p")} == {2}


def test_the_best_policy_is_judged_like_the_newest(trained, capsys):
    best = json.loads((trained / "summary.json").read_text())["best"]["step"][0]
    assert best in (0, 30, 60)
    assert run("eval", trained, "--episodes", 2, "--which", "best") == 0
    assert capsys.readouterr().out.startswith(f"best by step {best}: return -")


def test_a_policy_and_its_data_are_exported(trained, tmp_path, capsys):
    assert run("export", trained, "-o", tmp_path / "p.npz", "--which", "best") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "p.npz"), str(tmp_path / "numpy_policy.py")]
    assert Policy(tmp_path / "p.npz")(np.zeros(3)).shape == (1,)
    assert run("export-data", trained, "-o", tmp_path / "d.npz") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'd.npz'}: 60 transitions\n"
    assert np.abs(np.load(tmp_path / "d.npz")["action"]).max() > 1.0  # N m, not the agent's units


def test_what_is_exported_lies_in_the_run_unless_it_is_said_where(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("policy.npz", "data.npz"):
        (tmp_path / name).write_text("mine")
    assert run("export", trained) == run("export-data", trained) == 0
    said = [trained / "policy.npz", trained / "numpy_policy.py", f"{trained / 'data.npz'}: 60 transitions"]
    assert capsys.readouterr().out.splitlines() == [str(line) for line in said]
    assert Policy(trained / "policy.npz")(np.zeros(3)).shape == (1,)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


@pytest.mark.slow
def test_training_goes_on_from_data(trained, tmp_path, capsys):
    out = tmp_path / "run"
    args = [
        "--steps",
        0,
        "--data",
        trained,
        "--pretrain",
        5,
        "--eval-every",
        5,
        "--eval-episodes",
        2,
        "--agent.hidden",
        8,
        8,
    ]
    assert run("train", "sac", "Pendulum-v1", *args, "--agent.hidden", 8, 8, "--agent.batch-size", 8, "--run", out) == 0
    said = capsys.readouterr().out
    assert "best return           -" in said
    assert "environment steps     0 per seed" in said
    config = json.loads((out / "config.json").read_text())
    assert config["agent"]["random_steps"] == 0
    assert (config["data"]["rows"], config["data"]["source"]) == (60, str(trained))


@pytest.mark.slow
def test_eval_writes_a_video(trained, tmp_path, capsys):
    assert run("eval", trained, "--episodes", 1, "--video", tmp_path / "v.gif") == 0
    assert (tmp_path / "v.gif").read_bytes()[:4] == b"GIF8"


def test_report_over_two_runs(trained, tmp_path, capsys):
    assert run("report", trained, trained, "-o", tmp_path / "both.html") == 0
    assert (tmp_path / "both.html").read_text().count("<html") == 1


def test_list_says_who_can_learn_an_environment(capsys):
    assert run("list", "--env", "Pendulum-v1") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line and line[0] != " "}
    assert rows["sac"].split()[1] == "yes"
    assert rows["mbpo"].split()[1] == "yes"
    assert "no:" in rows["dyna-q"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["trian"], 2, "did you mean 'train'"),
        (["train"], 2, "forethought train mbpo Pendulum-v1"),
        (["train", "sca", "Pendulum-v1"], 2, "did you mean 'sac'"),
        (["train", "sac", "Pendulum-v1", "--agent.hiden", "3"], 2, "did you mean '--agent.hidden'"),
        (["train", "sac", "Pendulum-v1", "--agent.tau", "x"], 2, "--agent.tau"),
        (["train", "sac", "Pendulum-v1", "--preset", "hoper"], 2, "no preset 'hoper'"),
        (["train", "mbpo", "Hopper-v5", "--preset", "hoper"], 2, "did you mean 'hopper'"),
        (["train", "sac", "Pendulum-v1", "--env-kwargs", "g=3"], 2, "JSON object"),
        (["train", "sac", "Pendulum-v1", "--env-kwargs", '{"gee": 3}'], 2, "gee"),
        (["eval", "no-such-run"], 4, "not a run directory"),
        (["resume", "no-such-run"], 4, "not a run directory"),
        (["report"], 2, "run directories"),
        (["report", "no-such-run"], 4, "no run directory"),
    ],
)
def test_mistakes_get_one_line_and_an_exit_code(args, code, said, capsys):
    assert run(*args) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_help_of_an_algorithm_is_its_config(capsys):
    with pytest.raises(SystemExit) as stop:
        run("train", "sac", "ENV", "--help")
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--agent.tau" in said
    assert "Share of the online critic that enters the target critic" in said


def test_presets_show_in_the_help_and_can_be_left_out(capsys):
    for args, default in (([], "default: 10"), (["--preset", "none"], "default: 20")):
        with pytest.raises(SystemExit):
            run("train", "mbpo", "InvertedPendulum-v5", *args, "--help")
        said = " ".join(capsys.readouterr().out.replace("│", " ").split())
        start = said.index("--agent.updates-per-step")
        assert default in said[start : start + 150]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_is_quick_and_imports_neither_jax_nor_an_environment(argument):
    code = (
        "import sys, forethought, forethought.cli as cli; cli.main([sys.argv[1]]);"
        "bad = [m for m in ('jax', 'gymnasium', 'plotly', 'jinja2', 'equinox') if m in sys.modules];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code, argument], check=True, capture_output=True)


@pytest.mark.slow
def test_piped_output_is_plain_lines(tmp_path):
    args = [sys.executable, "-m", "forethought", "train", "sac", "Pendulum-v1", *TINY, "--run", str(tmp_path / "run")]
    done = subprocess.run(args, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "memory: replay" in done.stdout
    assert "compiling update" in done.stdout
    if jax.default_backend() == "cpu":
        assert f"device: CPU ({cpu_name()}, {os.cpu_count()} cores)\n" in done.stdout
    assert "step 60/60" in done.stdout
    assert "return after" in done.stdout


def test_what_is_offered_for_an_unknown_option_is_an_option(capsys):
    assert run("diagnose", "runs/some", "--horizont", "7") == 2
    assert capsys.readouterr().err.endswith("has no option --horizont; did you mean '--horizon'?\n")
    assert run("diagnose", "runs/some", "--run", "7") == 2
    assert "'--run'" not in capsys.readouterr().err


def test_the_display_counts_what_an_agent_does():
    from forethought.training.progress import Snapshot, describe

    assert dict(describe(Snapshot(fits=5)))["fits of the model"] == "5"
    assert "updates" not in dict(describe(Snapshot(fits=5)))
    assert dict(describe(Snapshot(updates=1200)))["updates"] == "1,200"
    assert dict(describe(Snapshot()))["updates"] == "0"


def test_the_help_names_the_preset_that_its_defaults_come_from(capsys):
    with pytest.raises(SystemExit):
        run("train", "pets", "forethought/CartPoleContinuous-v0", "--help")
    assert "preset cartpole (mbrl-lib" in capsys.readouterr().out


def test_a_piped_list_keeps_one_line_per_algorithm():
    done = subprocess.run([sys.executable, "-m", "forethought", "list"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["algorithm", *catalog.ALGORITHMS]


def test_plain_lines_come_now_and_then(capsys):
    from forethought.training.progress import Plain, Snapshot

    shown = Plain()
    shown.advance(Snapshot(steps=100, env_steps=50, left_s=5.0, wall_s=5.0))
    said = capsys.readouterr().out
    assert "left 0:05" in said
    shown.advance(Snapshot(steps=100, env_steps=51, left_s=5.0, wall_s=6.0))
    assert capsys.readouterr().out == ""  # the last line is still fresh


MODULE = """
import gymnasium, numpy as np
class Bare(gymnasium.Env):
    pass
class Blind(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}
for name, cls in (("Bare-v0", Bare), ("Blind-v0", Blind)):
    gymnasium.register(name, entry_point=cls)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--env", "mine_too:Bare-v0"], "has no observation_space; declare it"),
        (["list", "--env", "mine_too:Blnd-v0"], "did you mean 'mine_too:Blind-v0'"),
        (["list", "--env", "./mine_too.py:Blind-v0"], "write mine_too:Blind-v0"),
        (["train", "sac", "Pendulum-v1", "--steps", "2k"], "--steps takes a whole number, not '2k'"),
        (["train", "sac", "Pendulum-v1", "--agent.learning-rate", "-1"], "learning_rate is -1.0; it must be above 0"),
        (["train", "mbpo", "Pendulum-v1", "--agent.rollouts-per-step", "100000000"], "more than a ring holds"),
        (["train", "mbpo", "Pendulum-v1", "--agent.schedule.end", "5"], "schedule.end is 5; it must be at least"),
        (["resume", "runs/nope"], "holds no config.json; "),
    ],
)
def test_mistakes_of_a_newcomer(tmp_path, monkeypatch, capsys, words, said):
    (tmp_path / "mine_too.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert run(*words) in (2, 4)
    out = capsys.readouterr().err
    assert said in out
    assert out.count("\n") == 1


@pytest.mark.slow
def test_a_run_whose_report_nobody_waits_for_is_saved(trained, tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"
    shutil.copytree(trained, path)

    def terminated(world, policy):
        yield np.zeros((8, 8, 3), np.uint8)
        os.kill(os.getpid(), signal.SIGTERM)
        yield np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(policy, "_frames", terminated)
    assert run("resume", path, "--steps", 64) == 130
    assert f"stopped while the report was written; the run is finished and saved, forethought report {path}" in (
        capsys.readouterr().err
    )
    assert [video.name for video in (path / "videos").iterdir()] == ["final.mp4"]  # that of before
    assert json.loads((path / "summary.json").read_text())["env_steps"] == 64
    assert run("report", path) == 0


@pytest.mark.slow
def test_what_cannot_be_filmed_or_judged(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_three.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    limited = ["--env-kwargs", '{"max_episode_steps": 5}']
    assert run("train", "sac", "mine_three:Blind-v0", *TINY, *limited, "--run", "run") == 0
    assert "no video              mine_three:Blind-v0 cannot be filmed: its constructor" in capsys.readouterr().out
    assert run("eval", "run", "--episodes", 1, "--video", "v.gif") == 2
    assert "cannot be filmed: its constructor takes no render_mode" in capsys.readouterr().err
    assert run("eval", "run", "--episodes", 0) == 2
    assert "episodes is 0" in capsys.readouterr().err


def test_the_help_of_train_names_the_algorithms(capsys):
    with pytest.raises(SystemExit):
        run("train", "--help")
    assert "algorithms: dyna-q, dyna-q-plus" in capsys.readouterr().out
