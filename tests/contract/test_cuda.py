"""Every method on CUDA gives the CPU's float64 numbers; skipped where there is no GPU."""

import pytest
import torch

from metaviz.algorithms.registry import ALGORITHMS, load_algorithms
from metaviz.config import RunConfig, Shared
from metaviz.runs.events import Ended, Evaluated, Stepped
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train

load_algorithms()
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
