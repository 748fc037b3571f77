"""Runs whose data lie elsewhere now go on as if nothing had been moved."""

from pathlib import Path

import numpy as np

from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import Stepped
from metaviz.runs.storage.store import open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.image_data import image, images
from tests.unit.stored import assert_same_state, begin, resume, train
from tests.unit.test_omniglot_files import unpack


def classifier(data: Path) -> RunConfig:
    """Three plain batches of tiny images."""
    return RunConfig(
        problem="images",
        algorithm="classifier",
        seed=1,
        steps=3,
        device="cpu",
        options={"batch_size": 2},
        problem_options={"path": str(data), "side": 20, "channels": 2},
        shared=Shared(ways=2, shots=1, query_shots=1, eval_tasks=2, eval_every=1),
    )


def test_a_run_goes_on_with_the_same_bits_where_its_data_were_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    unpack(before, images("{split}/{name}/{row}.png"))
    whole = train(classifier(before), tmp_path / "whole")
    session = begin(classifier(before), tmp_path / "stopped")
    while not (isinstance(event := session.advance(), Stepped) and event.step == 2):
        pass
    session.end("stopped")
    folder = session.folder
    before.rename(after)
    assert str(before) in refusal("resume", folder)
    metaviz("data", "relocate", folder, "--path", after)
    assert open_run(folder).config["problem_options"]["path"] == str(after)
    resume(folder)
    found, wanted = open_run(folder), open_run(whole)
    for name in ("query_loss", "query_loss_before", "grad_norm"):
        np.testing.assert_array_equal(found.column(name), wanted.column(name), err_msg=name)
    assert found.evaluations[-1].at("query_accuracy") == wanted.evaluations[-1].at("query_accuracy")
    states = (load_checkpoint(place / CHECKPOINT)["meta"] for place in (folder, whole))
    assert_same_state(*states, "meta")
    assert found.notes[0].message == f"Its data are read from {after} now."


def test_other_data_and_runs_without_data_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    unpack(data, images("{split}/{name}/{row}.png"))
    unpack(other, images("{split}/{name}/{row}.png") | {"train/c0/2.png": image(99)})
    folder = train(classifier(data), tmp_path / "runs")
    text = (folder / "run.toml").read_bytes()
    outcome = metaviz("data", "relocate", folder, "--path", other)  # which tells of decoding first
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error.splitlines()[-1] == (
        f"metaviz: {other} has 5 training examples of 2 classes, where {folder.name} began with 4 "
        "training examples of 2 classes: other data than its own."
    )
    assert str(tmp_path / "gone") in refusal(
        "data", "relocate", folder, "--path", tmp_path / "gone"
    )
    assert (folder / "run.toml").read_bytes() == text
    assert not open_run(folder).notes
    plain = train(
        RunConfig(problem="sinusoid", algorithm="joint", seed=0, steps=1, device="cpu"),
        tmp_path / "plain",
    )
    assert refusal("data", "relocate", plain, "--path", data) == (
        f"{plain.name} reads no data of its own: only runs with a path have a place."
    )
