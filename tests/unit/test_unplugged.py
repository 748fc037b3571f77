"""A folder of images that goes away: runs go on, what comes later says what is missing."""

import shutil
from pathlib import Path

from metaviz.config.run_config import RunConfig, Shared
from metaviz.runs.storage.store import open_run
from tests.unit.command_line import metaviz
from tests.unit.stored import begin, finish
from tests.unit.test_episodes import small

SHARED = Shared(
    ways=3, shots=1, query_shots=2, meta_batch=2, eval_tasks=3, eval_every=3, eval_steps=2
)


def test_training_survives_its_folder_and_evaluating_names_it(tmp_path: Path) -> None:
    place = small(tmp_path / "data")
    asked = RunConfig(
        problem="images",
        algorithm="fomaml",
        seed=0,
        steps=6,
        device="cpu",
        shared=SHARED,
        options={"inner_steps": 2},
        problem_options={"path": place, "side": 16, "channels": 4},
    )
    session = begin(asked, tmp_path / "runs")
    while session.advance() is not None:
        if open_run(session.folder).step >= 2:
            break
    shutil.rmtree(tmp_path / "data")
    folder = finish(session)
    record = open_run(folder)
    assert (record.state, record.message, record.step) == ("done", "", 6)
    assert record.evaluations[-1].step == 6
    outcome = metaviz("evaluate", folder)
    assert outcome.code == 2
    *_, sentence = outcome.error.splitlines()
    assert (
        sentence == f"metaviz: {place} does not exist; choose a folder or a zip archive of images."
    )
