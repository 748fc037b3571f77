"""The run that comes with the tests opens anywhere, and its tables and texts say what it holds."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.analysis.presets import preset_of, short_of
from metaviz.runs.model.record import Record
from metaviz.runs.storage.archive import unpack_run
from metaviz.runs.storage.store import open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.image_data import images
from tests.unit.test_omniglot_files import unpack

RESULTS = Path(__file__).parents[1] / "results"
STORED = RESULTS / "miniimagenet-classifier"
HEADS = ("un", "l2n", "cl2n", "cosine", "logistic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_run(STORED / "run.zip", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Record:
    return open_run(folder)


def test_the_run_is_short_of_its_preset_and_says_so(folder: Path, run: Record) -> None:
    assert (run.state, run.step, run.total_steps) == ("stopped", 5016, 13_500)
    assert load_checkpoint(folder / CHECKPOINT)["step"] == 5016
    config = run.config | {"training_examples": run.resolved["training_examples"]}
    preset = preset_of(config, "miniImageNet")
    assert preset is not None
    assert short_of(config, run.step, preset) == "short: 33.44 of 90 epochs"
    assert run.config["problem_options"]["path"] == "miniimagenet"
    assert len(run.column("query_loss")) == len(run) == 5016


def test_the_table_of_the_readme_is_that_of_the_tasks() -> None:
    with (STORED / "evaluations.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^\| [^|]+ \| ([\d.]+) ± 0.[34] \|.*? ([\d.]+) ± 0.[34] \|", text, re.MULTILINE
    )
    for head, numbers in zip(HEADS, told, strict=True):
        for shots, number in zip(("1", "5"), numbers, strict=True):
            found = [float(row[f"accuracy_{head}"]) for row in rows if row["shots"] == shots]
            assert len(found) == 2000
            assert f"{100 * np.mean(found):.1f}" == number


def test_it_asks_for_its_data_and_refuses_others(folder: Path, tmp_path: Path) -> None:
    assert "miniimagenet does not exist" in refusal("resume", folder)
    unpack(tmp_path / "other", images("{split}/{name}/{row}.png"))
    outcome = metaviz("data", "relocate", folder, "--path", tmp_path / "other")
    assert outcome.code == 2
    assert open_run(folder).config["problem_options"]["path"] == "miniimagenet"
