"""Whatever bytes a file holds, reading it ends in a sentence or in what it says."""

import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaviz.config.options import OptionError, checked
from metaviz.config.run_config import Comparison, RunConfig, read_comparison
from metaviz.meta.checkpoint_files import CHECKPOINT, read_checkpoint
from metaviz.runs.storage.database import DATABASE
from metaviz.runs.storage.store import ABOUT, StoreError, list_runs, open_run, read_divergence
from metaviz.training.checkpoints import find_checkpoint
from metaviz.training.engine import planned_runs
from metaviz.training.resume import resume_sessions
from tests.fuzz.mutations import harmed
from tests.unit.command_line import metaviz
from tests.unit.stored import config, train

QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KEYS = [
    *("problem", "algorithms", "seeds", "steps", "device", "dtype", "shared", "options"),
    *("problem_options", "version", "inner_lr", "maml", "meta_batch", "eval_tasks", "../x"),
]
numbers = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([0, 1, -1, 1e308, math.nan])
words = st.sampled_from(["maml", "sinusoid", "auto", "", "nan", "../../etc", "\x00"]) | st.text(
    st.characters(codec="utf-8"), max_size=8
)
leaves = numbers | words | st.booleans()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | words, inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on disk."""
    return train(config("maml"), tmp_path_factory.mktemp("fuzz") / "runs")


def sentence(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@QUICK
@given(st.dictionaries(st.sampled_from(KEYS) | words, values, max_size=6))
def test_configuration_is_a_comparison_or_one_sentence(told: dict[str, Any]) -> None:
    try:
        asked = checked(Comparison, told)
        planned_runs(asked)
    except OptionError as error:
        sentence(error)


@QUICK
@given(st.binary(max_size=200) | st.dictionaries(words, values, max_size=4))
def test_configuration_file_is_a_comparison_or_one_sentence(
    tmp_path: Path, told: bytes | dict[str, Any]
) -> None:
    path = tmp_path / "config.toml"
    if isinstance(told, dict):
        try:
            told = tomli_w.dumps(told).encode()
        except (ValueError, OverflowError, TypeError):
            return
    path.write_bytes(told)
    try:
        read_comparison(path)
    except OptionError as error:
        sentence(error)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the run, with a file beside it that nobody may touch."""
    other = tmp_path / "beside"
    other.write_text("untouched")
    folder = tmp_path / "runs" / run.name
    shutil.copytree(run, folder)
    yield folder
    assert other.read_text() == "untouched"
    assert {path.name for path in tmp_path.iterdir()} == {"beside", "runs"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]


@QUICK
@given(st.sampled_from([ABOUT, DATABASE]), st.integers(0, 2**32))
def test_run_folder_is_a_run_or_one_sentence(run: Path, copy: Path, name: str, seed: int) -> None:
    for other in (ABOUT, DATABASE):
        shutil.copyfile(run / other, copy / other)
    (copy / name).write_bytes(harmed((run / name).read_bytes(), random.Random(seed)))
    for read in (open_run, read_divergence):
        try:
            read(copy)
        except StoreError as error:
            sentence(error)
    assert list_runs(copy.parent) == [copy]


@QUICK
@given(st.dictionaries(st.sampled_from(["run", "environment", "empty", "parent"]), values))
def test_facts_about_a_run_are_read_or_one_sentence(
    run: Path, copy: Path, told: dict[str, Any]
) -> None:
    try:
        text = tomli_w.dumps(told)
    except (ValueError, OverflowError, TypeError):
        return
    (copy / ABOUT).write_text(text, encoding="utf-8")
    try:
        record = open_run(copy)
    except StoreError as error:
        sentence(error)
    else:
        assert isinstance(record.label, str)


@QUICK
@given(st.integers(0, 2**32))
def test_checkpoint_is_read_or_one_sentence(run: Path, seed: int) -> None:
    path = run / CHECKPOINT
    try:
        state = read_checkpoint(path, harmed(path.read_bytes(), random.Random(seed)))
    except StoreError as error:
        sentence(error)
    else:
        assert isinstance(state["step"], int)


@settings(QUICK, max_examples=60)
@given(st.integers(0, 2**32))
def test_harmed_checkpoints_are_passed_over_or_one_sentence(
    run: Path, copy: Path, seed: int
) -> None:
    chance = random.Random(seed)
    for path in run.glob("checkpoint*.pt"):
        data = path.read_bytes()
        (copy / path.name).write_bytes(
            harmed(data, random.Random(seed)) if chance.random() < 0.7 else data
        )
    try:
        found = find_checkpoint(copy)
        assert found is None or found.state["step"] <= 7
        for session in resume_sessions([copy], 9):
            session.end("stopped")
    except (StoreError, OptionError) as error:
        sentence(error)


def test_what_is_stored_of_a_run_is_a_configuration(run: Path) -> None:
    assert RunConfig.model_validate(open_run(run).config).algorithm == "maml"


def test_deep_nesting_is_one_sentence_wherever_toml_is_read(run: Path, copy: Path) -> None:
    deep = "a=" + "[" * 5000
    (copy / ABOUT).write_text(deep)
    with pytest.raises(StoreError, match="nested too deeply") as caught:
        open_run(copy)
    sentence(caught.value)
    path = copy / "deep.toml"
    path.write_text(deep)
    with pytest.raises(OptionError, match="nested too deeply"):
        read_comparison(path)
    path.unlink()
    listed = metaviz("list", copy.parent)
    assert "Traceback" not in listed.error
    assert run.exists()
