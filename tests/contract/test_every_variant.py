"""Every value of every choice of every method: it diverges, is compared and recorded properly."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.runs.export.tables import metrics_csv, summary_csv
from metaviz.runs.export.tensorboard import scalars
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Event, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from metaviz.runs.storage.tail import Follower
from metaviz.training.engine import compare_gradients
from metaviz.training.session import open_sessions
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train
from tests.contract.test_algorithms import LEARNS, LOOPS, VARIANTS
from tests.oracle.engine import FEATURES, problem_of
from tests.unit.stored import finish

EVERY = 5


def config(name: str, options: dict[str, Any], problem: str = "", **shared: Any) -> RunConfig:
    """A short run of a variant, in float64, on a problem that suits it unless one is given."""
    usual: dict[str, Any] = {"meta_batch": 3, "eval_tasks": 3, "eval_every": 100, "inner_steps": 2}
    rate = {"inner_lr": 0.05} if name in LOOPS else {}
    problem = problem or problem_of(name)
    return RunConfig(
        problem=problem,
        algorithm=name,
        seed=3,
        steps=2 * EVERY,
        options=ALGORITHMS[name].checked({**rate, **options}).model_dump(),
        problem_options={
            "sinusoid": {"hidden": 6},
            "strokes": {"channels": 2},
            "features": {"path": str(FEATURES)},
        }[problem],
        shared=Shared(**{**usual, **shared}),
        dtype="float64",
        device="cpu",
    )


@pytest.mark.parametrize("value", [np.nan, 1e200])
@pytest.mark.parametrize(
    ("name", "options"), [variant for variant in VARIANTS if variant[0] != "bauer"]
)  # a prior of base classes is not trained, so that it cannot break
def test_a_run_that_breaks_where_no_losses_are_read_ends_as_diverged(
    name: str, options: dict[str, Any], value: float
) -> None:
    if name == "gidaris" and np.isfinite(value):
        pytest.skip("cosines do not change with the length of what was generated")
    chosen = settle(config(name, options, reading_every=EVERY))
    progress = begin(chosen)
    last: Event | None = None
    for last in train(chosen, progress):
        if isinstance(last, Stepped) and last.step == 1:
            for group in {"init", "psi", "encoder", "generator"} & progress.meta.keys():
                progress.meta[group].fill_(value)
    assert isinstance(last, Ended)
    assert last.state == "diverged", last
    assert " at step " in last.message
    assert last.message.endswith(".")
    assert last.divergence is not None
    remedies = {remedy.id for remedy in last.divergence.remedies}
    assert remedies
    assert name in LOOPS or "half-inner" not in remedies
    # Without training there is nothing to break before losses are read again.
    assert last.divergence.step == (EVERY + 1 if name == "scratch" else 2)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradients_of_every_variant_are_compared(name: str, options: dict[str, Any]) -> None:
    asked = [config("maml", {}, problem_of(name)), config(name, options)]
    if settle(asked[1]).algorithm.network is None:
        with pytest.raises(OptionError, match="learns no weights of the problem's network"):
            compare_gradients(asked, None, 0)
        return
    found = compare_gradients(asked, None, 0)
    maml, row = found.rows
    assert row.gradient.shape == maml.gradient.shape
    assert np.isfinite(row.gradient).all()
    trained = settle(asked[1]).algorithm.trained()
    assert (row.norm > 0) == ("init" in trained and name in LEARNS)
    assert set(row.others) == trained - {"init"}
    assert found.to_json()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_reading_arrives_in_record_tables_and_lists(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    asked = config(name, options).model_copy(update={"steps": 2})
    chosen = settle(asked)
    step = chosen.algorithm.meta_gradient(chosen.context(0), chosen.init())
    (session,) = open_sessions([asked], tmp_path)
    follower = Follower(session.folder, open_run(session.folder))
    followed = Record(session.id, session.config)
    folder = finish(session)
    for event in follower.poll().events:
        followed.apply(event)
    follower.close()
    stored = open_run(folder)
    assert stored.quantities == followed.quantities
    own = [quantity.id for quantity in stored.quantities]
    assert set(own) == step.readings.keys() - set(STEP_COLUMNS)
    rows, (summary,) = table(metrics_csv([stored])), table(summary_csv([stored]))
    tags = {tag for tag, *_ in scalars(stored)}
    for reading, values in step.readings.items():
        assert values.shape == (chosen.tasks_per_step,)
        mean = pytest.approx(float(values.mean()), rel=1e-12)
        for record in (stored, followed):
            assert record.column(reading)[0] == mean, reading
        assert float(rows[0][reading]) == mean, reading
        assert f"train/{reading}" in tags
    for reading in own:
        assert summary[reading] == rows[-1][reading]


def table(text: str) -> list[dict[str, str]]:
    """Read a table."""
    return list(csv.DictReader(io.StringIO(text, newline="")))
