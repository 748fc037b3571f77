"""Plugins: found, loaded in every process, stored with runs, checked; broken ones take nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metaviz.plugin
from metaviz import plugin_loader
from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.quantities import QUANTITIES
from metaviz.nets.spec import NETS
from metaviz.plugin_kit.checking import check_plugin
from metaviz.plugin_loader import PLUGINS, Plugin, PluginError, source_of
from metaviz.problems.registry import PROBLEMS
from metaviz.registry import Registry
from metaviz.runs.storage.store import list_runs, open_run
from tests.unit.command_line import metaviz as command
from tests.unit.command_line import refusal

NAMES = [
    *("Algorithm", "AlgorithmOptions", "Axis", "Bars", "Batch", "Chart", "Composed", "Context"),
    *("Enters", "Episodic", "GradientDescent", "HeatMap", "Histogram", "ImageGrid", "Implicit"),
    *("InnerRule", "Learner", "Lines", "Meta", "MethodOptions", "OptionError", "Options"),
    *(
        "Panels",
        "Prediction",
        "Proposer",
        "Quantity",
        "Reptile",
        "Scatter",
        "Series",
        "Shared",
        "TaskBatch",
    ),
    *("Term", "Unrolled", "compose", "option", "register", "register_arrays"),
    *("register_network", "register_quantity", "use_network"),
]
SMALL = [
    *("--set", "eval_tasks=3", "--set", "inner_steps=2", "--set", "meta_batch=2"),
    *("--set", "query_shots=3", "--set", "ways=3", "--device", "cpu"),
]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a test registers, and use a data folder of its own."""
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(plugin_loader.VARIABLE, raising=False)
    for registry in Registry.every:
        len(registry)
    before = [dict(registry) for registry in Registry.every]
    quantities, loaded = dict(QUANTITIES), dict(PLUGINS.loaded)
    yield
    for registry, kinds in zip(Registry.every, before, strict=False):
        registry.restore(kinds)
    for known, then in ((QUANTITIES, quantities), (PLUGINS.loaded, loaded)):
        for name in known.keys() - then.keys():
            del known[name]  # type: ignore[attr-defined]


@pytest.fixture
def soft(tmp_path: Path) -> Path:
    path = tmp_path / "soft.py"
    assert command("plugin", "new", "soft", "--out", path).out == f"{path}\n"
    return path


def run(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    environment = {**os.environ, "METAVIZ_HOME": str(home), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "metaviz", *map(str, arguments)]
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_public_names_are_frozen() -> None:
    assert sorted(metaviz.plugin.__all__) == NAMES
    assert all(getattr(metaviz.plugin, name) is not None for name in NAMES)


def test_a_new_plugin_passes_its_check(soft: Path) -> None:
    outcome = command("plugin", "check", soft)
    assert outcome.code == 0, outcome.out
    lines = outcome.out.splitlines()
    assert lines[0].startswith("soft 1.0 adds ")
    assert "algorithm soft" in lines[0]
    assert {line.split("  ")[0] for line in lines[1:]} == {"ok"}
    for check in ("finite differences", "resumed run", "tasks are independent", "same bits"):
        assert check in outcome.out
    assert "exists already" in refusal("plugin", "new", "soft", "--out", soft)
    assert "is no name" in refusal("plugin", "new", "2 fast")


@pytest.mark.parametrize(
    ("right", "wrong", "failure"),
    [
        ("1 + self.softness * gradient.abs())", "1 + self.softness * gradient.abs().detach())", ""),
        ("* gradient /", "* gradient.mean(0, keepdim=True) /", "not the mean of its tasks'"),
        ("state - self.rate", "state - __import__('torch').rand(1) * self.rate", "differs from"),
        ("y = np.repeat", "import time; centres += time.time_ns() % 97; y = np.repeat", ""),
    ],
)
def test_planted_mistakes_are_found(soft: Path, right: str, wrong: str, failure: str) -> None:
    text = soft.read_text()
    assert right in text
    soft.write_text(text.replace(right, wrong))
    outcome = command("plugin", "check", soft)
    if failure or "detach" in wrong:
        assert outcome.code == 1, outcome.out
        assert (failure or "differences of the query loss are") in outcome.out
    else:
        assert outcome.code == 0  # data that are loaded once are the same for all tasks


def test_what_was_not_compared_is_not_told_to_be_right() -> None:
    plugin = Plugin("some", "1", "", "", "", ("algorithm maml", "algorithm fomaml"))
    told = {
        one.subject: (one.failure, one.left_out)
        for one in check_plugin(plugin)
        if "finite differences" in one.check
    }
    assert told["algorithm maml"] == ("", "")
    failure, left_out = told["algorithm fomaml"]
    assert failure == ""
    assert "an approximation on purpose" in left_out


def test_every_process_loads_it_and_runs_store_it(soft: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "plugins").mkdir(parents=True)
    kept = soft.rename(home / "plugins" / "soft.py")
    out = tmp_path / "out"
    asked = ["--problem", "soft_data", "--algorithms", "soft,protonet", "--steps", "2", *SMALL]
    done = run("compare", *asked, "--set", "soft.softness=2", "--out", out, home=home)
    assert done.returncode == 0, done.stderr
    folders = {open_run(folder).algorithm: folder for folder in list_runs(out / "runs")}
    record = open_run(folders["soft"])
    stored = record.environment["plugins"]
    assert stored.startswith("soft 1.0 sha256:")
    assert len(stored.rpartition(":")[2]) == 64
    assert "soft 1.0" in open_run(folders["protonet"]).environment["plugins"]  # of its data
    assert record.column("soft_moved")[0] > 0
    assert record.traits.charts == ("soft_lengths",)
    queued = run("queue", "add", out / "comparison.toml", home=home)
    assert queued.returncode == 0, queued.stderr
    worked = run("queue", "run", "--workers", "1", home=home)
    assert worked.returncode == 0, worked.stderr
    assert len(list_runs(home / "runs")) == 2
    assert run("resume", folders["soft"], "--steps", "3", home=home).returncode == 0
    assert run("evaluate", folders["soft"], "--set", "tasks=3", home=home).returncode == 0
    kept.rename(tmp_path / "gone.py")
    gone = run("resume", folders["soft"], "--steps", "4", home=home)
    assert gone.returncode == 2
    assert "was trained with the plugin soft 1.0, which is not loaded here" in gone.stderr
    assert run("export", folders["soft"], "--out", tmp_path / "e", home=home).returncode == 0
    assert "soft_moved" in (tmp_path / "e" / "metrics.csv").read_text()
    assert "soft_lengths" in (tmp_path / "e" / "charts.csv").read_text()
    named = run(
        *("--plugin", tmp_path / "gone.py", "resume", folders["soft"], "--steps", "4"), home=home
    )
    assert named.returncode == 0, named.stderr


def test_a_broken_plugin_is_one_sentence_and_takes_nothing_down(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "plugins").mkdir(parents=True)
    (home / "plugins" / "broken.py").write_text(
        "from metaviz.plugin import Quantity, register_quantity\n"
        "register_quantity(Quantity('half_done', 'Half'))\n"
        "1 / 0\n"
    )
    (home / "plugins" / "leaves.py").write_text("raise SystemExit(3)\n")
    (home / "plugins" / "letters.py").write_text("def (\n")
    (home / "plugins" / "good.py").write_text(
        "from metaviz.plugin import Quantity, register_quantity\n"
        "register_quantity(Quantity('whole', 'Whole'))\n"
    )
    done = run("plugin", "list", home=home)
    assert done.returncode == 1
    assert done.stdout == f"good 0 ({home / 'plugins' / 'good.py'}): quantity whole\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert "broken.py is left out: ZeroDivisionError: division by zero." in lines[0]
    assert "leaves.py is left out: SystemExit: 3." in lines[1]
    assert "letters.py is left out: SyntaxError: " in lines[2]
    done = run("options", "maml", home=home)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 3)


def load(path: Path, text: str) -> Any:
    path.write_text(text)
    return PLUGINS.load(source_of(path))


def test_what_a_broken_plugin_registered_is_forgotten(tmp_path: Path) -> None:
    before = [set(registry) for registry in Registry.every], set(QUANTITIES)
    text = (
        "from metaviz.plugin import *\n"
        "register_quantity(Quantity('half_done', 'Half'))\n"
        "register_network('net')(lambda example, outputs: None)\n"
        "raise OSError('no disk')\n"
    )
    with pytest.raises(PluginError, match=r"left out: OSError: no disk\.$"):
        load(tmp_path / "a.py", text)
    assert ([set(registry) for registry in Registry.every], set(QUANTITIES)) == before


def test_ids_that_are_taken_are_refused(tmp_path: Path) -> None:
    text = (
        "from metaviz.plugin import *\n"
        "@register(AlgorithmOptions, id='maml', title='x', group='Explicit', summary='x',\n"
        "          formula='x', cost='x', citation='x')\n"
        "def mine(options, shared):\n"
        "    return compose(GradientDescent(0.1), Unrolled(), 1)\n"
    )
    shipped = ALGORITHMS["maml"]
    with pytest.raises(PluginError, match="the algorithm id 'maml' is taken"):
        load(tmp_path / "b.py", text)
    assert ALGORITHMS["maml"] is shipped


def test_code_in_a_runs_folder_is_never_run(tmp_path: Path, soft: Path) -> None:
    home = tmp_path / "home"
    folder = home / "runs" / "maml-s0-00000000"
    folder.mkdir(parents=True)
    soft.rename(folder / "soft.py")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "evil.py").write_text("raise SystemExit('run')\n")
    done = run("plugin", "list", home=home)
    assert done.stdout == ""
    assert "There are no plugins" in done.stderr


def test_a_module_with_buffers_is_refused(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n"
        "from metaviz.plugin import register_network\n"
        "@register_network('batched')\n"
        "def net(example, outputs):\n"
        "    return nn.Sequential(nn.Linear(example[0], 4), nn.BatchNorm1d(4))\n"
    )
    path = tmp_path / "c.py"
    path.write_text(text)
    outcome = command("plugin", "check", path)
    assert outcome.code == 1
    assert "The module has the buffer '1.running_mean'" in outcome.out


def test_a_known_problem_takes_an_own_network(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n"
        "from metaviz.plugin import register_network, use_network\n"
        "@register_network('gelu')\n"
        "def net(example, outputs):\n"
        "    c, h, w = example\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 8), nn.GELU(),\n"
        "                         nn.Linear(8, outputs))\n"
        "use_network('strokes', 'gelu', 'strokes_gelu')\n"
    )
    path = tmp_path / "d.py"
    path.write_text(text)
    outcome = command("plugin", "check", path)
    assert outcome.code == 0, outcome.out
    assert "problem strokes_gelu" in outcome.out
    asked = ["--problem", "strokes_gelu", "--algorithms", "maml", "--steps", "1", *SMALL]
    assert command("compare", *asked, "--out", tmp_path / "o").code == 0
    (folder,) = list_runs(tmp_path / "o" / "runs")
    record = open_run(folder)
    assert record.network["id"] == "gelu"
    assert record.environment["plugins"].startswith("d 0 sha256:")


def test_datasets_of_torch_are_arrays(tmp_path: Path) -> None:
    from torch.utils.data import TensorDataset

    from metaviz.plugin_kit.arrays import _splits

    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    import torch

    data = TensorDataset(torch.from_numpy(x), torch.tensor([1, 0, 1, 0, 1, 0]))
    found = _splits({"train": data, "test": (x, np.zeros(6, int))})
    assert found["train"].counts.tolist() == [3, 3]
    assert found["train"].x[:, 0].tolist() == [2, 6, 10, 0, 4, 8]
    assert {"soft_net"}.isdisjoint(NETS)
    assert {"soft_data"}.isdisjoint(PROBLEMS)
