"""Every method on CUDA gives the CPU's float64 numbers; skipped where there is no GPU."""

from pathlib import Path

import pytest
import torch

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.run_config import RunConfig, Shared
from metaviz.runs.model.events import Ended, Evaluated, Noted, Stepped
from metaviz.runs.storage.store import open_run
from metaviz.training.session import open_sessions
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_training_on_cuda_matches_the_cpu(name: str) -> None:
    series = {}
    for device in ("cpu", "cuda"):
        config = RunConfig(
            problem="sinusoid",
            algorithm=name,
            seed=1,
            steps=3,
            device=device,  # type: ignore[arg-type] - a literal
            dtype="float64",
            options={"inner_steps": 4},
            shared=Shared(meta_batch=4, eval_tasks=6, eval_every=3),
        )
        setting = settle(config)
        events = list(train(setting, begin(setting)))
        assert isinstance(events[-1], Ended)
        assert events[-1].state == "done"
        losses = [e.values["post_query_loss"] for e in events if isinstance(e, Stepped)]
        curves = [e.curves["query_loss"] for e in events if isinstance(e, Evaluated)]
        series[device] = losses + [value for curve in curves for value in curve]
    assert series["cuda"] == pytest.approx(series["cpu"], rel=1e-8)


def small(algorithm: str = "maml", **changes: object) -> RunConfig:
    """Six steps on small sinusoids."""
    config = RunConfig(
        problem="sinusoid",
        algorithm=algorithm,
        seed=1,
        steps=6,
        device="cuda",
        dtype="float64",
        options={"inner_steps": 3},
        shared=Shared(meta_batch=4, eval_tasks=6, eval_every=6),
    )
    return config.model_copy(update=changes)


def trained(config: RunConfig) -> tuple[list[float | None], list[str]]:
    """Train; return query losses and notes."""
    setting = settle(config)
    events = list(train(setting, begin(setting)))
    losses = [e.values["post_query_loss"] for e in events if isinstance(e, Stepped)]
    return losses, [e.message for e in events if isinstance(e, Noted)]


def test_auto_captures_and_takes_the_eager_steps() -> None:
    assert settle(small()).engine == "captured"
    captured, notes = trained(small())
    eager, _ = trained(small(engine="eager"))
    assert notes == []
    assert captured == pytest.approx(eager, rel=1e-10)


def test_a_method_that_cannot_be_captured_runs_eagerly() -> None:
    minibatches = {"options": {"inner_steps": 3, "batch_size": 2}}
    losses, notes = trained(small("reptile", **minibatches))
    assert any("is not captured" in note for note in notes)
    assert losses == trained(small("reptile", engine="eager", **minibatches))[0]


def test_the_gradient_error_of_tf32_is_told() -> None:
    _, notes = trained(small(dtype="float32", tf32=True))
    assert any(note.startswith("TF32 changes the meta-gradient") for note in notes)
    assert trained(small(dtype="float32"))[1] == []
    assert not torch.backends.cudnn.allow_tf32


def test_a_batch_beyond_the_memory_is_computed_in_parts() -> None:
    whole, _ = trained(small(engine="eager"))
    parted, notes = trained(small(memory_gib=1e-6))
    assert "more than the budget" in notes[0]
    assert parted == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("name", ["maml", "metasgd", "metacurvature", "joint"])
def test_seeds_that_are_computed_together_take_the_steps_of_each(name: str, tmp_path: Path) -> None:
    asked = [small(name).model_copy(update={"seed": seed}) for seed in range(3)]
    sessions = open_sessions(asked, tmp_path)
    assert len({id(session.band) for session in sessions}) == 1
    assert sessions[0].band is not None
    left = list(sessions)
    while left:
        session = min(left, key=lambda one: one.step)
        if session.advance() is None:
            left.remove(session)
    for session, config in zip(sessions, asked, strict=True):
        record = open_run(session.folder)
        assert record.notes == []
        assert list(record.column("post_query_loss")) == pytest.approx(trained(config)[0], rel=1e-8)
