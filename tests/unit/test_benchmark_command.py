"""`metaviz benchmark`: what it writes, what it refuses, and other libraries beside it."""

import csv
import io
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.func import functional_call

from metaviz.benchmarking.contestants import distance, exercise_of
from metaviz.benchmarking.exercise import counterpart
from metaviz.benchmarking.laps import Contestant
from metaviz.benchmarking.measuring import Measurement
from metaviz.benchmarking.memory import Order, peaks
from metaviz.benchmarking.peers import TOLERANCE, is_there
from metaviz.config.run_config import Comparison
from metaviz.nets.conv4 import Conv4
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm
from metaviz.runs.model.speed import SPEED_HEADER, Speed, place_text, speed_csv
from metaviz.training.engine import planned_runs
from metaviz.training.setting import settle
from tests.unit.command_line import metaviz, refusal, rows

PLACE = {"device": "cpu", "shards": 2, "threads": 1}
TINY = [
    *("benchmark", "--device", "cpu", "--problems", "sinusoid"),
    *("--set", "sinusoid.hidden=4", "--set", "meta_batch=3", "--set", "inner_steps=2"),
]


def tiny_runs(problem="sinusoid", algorithms=("maml",), **shared):
    asked = {"sinusoid": {"hidden": 4}, "strokes": {"channels": 2}}[problem]
    values = {"meta_batch": 2, "inner_steps": 2, **shared}
    comparison = Comparison(
        problem=problem, algorithms=algorithms, shared=values, problem_options=asked, device="cpu"
    )
    return planned_runs(comparison)


def test_benchmark_writes_a_table_and_a_figure_of_every_method_and_library(tmp_path):
    out = tmp_path / "bench"
    chosen = ("--algorithms", "maml,fomaml", "--rounds", "2", "--peers")
    done = metaviz(*TINY, *chosen, "--out", out)
    assert done.code == 0, done.error
    found = {(row["algorithm"], row["library"]): row for row in rows(out / "benchmark.csv")}
    ours, first_order = found["maml", "MetaViz"], found["fomaml", "MetaViz"]
    assert float(ours["steps_per_second"]) > 0
    assert float(ours["seconds_q25"]) <= float(ours["seconds_median"])
    assert int(ours["rounds"]) == 2
    counted = [float(row["operations_per_step"]) for row in (ours, first_order)]
    assert counted[0] > counted[1] > 0
    assert 0 < float(ours["share_of_limit"]) < 1
    assert 0 < float(ours["share_of_products"]) < 1
    assert "maml" in done.out
    theirs = found["maml", "higher"]
    assert float(theirs["gradients_differ_by"]) < TOLERANCE
    assert float(theirs["times_slower_than_ours"]) > 1
    assert "times as fast as higher" in done.out
    if sys.platform == "linux":
        assert float(ours["peak_memory_mb"]) > 0
        assert float(theirs["peak_memory_mb"]) > 0
    if not is_there("learn2learn"):
        missing = found["maml", "learn2learn"]
        assert missing["steps_per_second"] == missing["share_of_limit"] == ""
        assert missing["note"] == "learn2learn is not installed."
    assert (out / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "benchmark.png").stat().st_size > 5000


def test_interrupting_keeps_what_was_measured(tmp_path, monkeypatch):
    work = Measurement.work

    def interrupted(self, rounds, *, memory):
        for number, doing in enumerate(work(self, rounds, memory=memory)):
            if number == 3:  # both are warm, and the first has its first round
                raise KeyboardInterrupt
            yield doing

    monkeypatch.setattr(Measurement, "work", interrupted)
    chosen = ("--algorithms", "maml,fomaml", "--rounds", "5", "--out", tmp_path)
    done = metaviz(*TINY, *chosen)
    assert done.code == 130
    assert done.error.endswith("Stopped; what was measured until now is kept.\n")
    first, second = rows(tmp_path / "benchmark.csv")
    assert (first["rounds"], second["rounds"]) == ("1", "0")
    assert (tmp_path / "benchmark.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rounds", "0"), "0 is not a whole number from 1 to 1000"),
        (("--algorithms", "mamml"), "There is no algorithm 'mamml'"),
        (("--problems", "sinus"), "There is no problem 'sinus'"),
        (("--problems", " , "), "problems = ' , ' is not valid: name at least one"),
        (("--set", "inner_lr=-1"), "inner_lr"),
        (("--set", "strokes.channels=2"), "strokes.channels is set, but the problem is 'sinusoid'"),
        (("--algorithms", "fomaml", "--peers"), "add maml to --algorithms"),
        (("--device", "tpu"), "device"),
    ],
)
def test_wrong_values_are_refused_with_one_sentence(arguments, sentence, tmp_path):
    assert sentence in refusal("benchmark", "--problems", "sinusoid", *arguments, "--out", tmp_path)


def test_missing_data_are_refused_before_anything_is_measured(tmp_path):
    both = ("--problems", "sinusoid,images", "--set", f"images.path={tmp_path / 'nothing'}")
    assert "nothing" in refusal("benchmark", *both, "--algorithms", "maml", "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("")
    assert "Cannot write" in refusal(*TINY, "--out", tmp_path / "file" / "bench")


def test_a_setting_of_one_problem_is_not_taken_for_one_of_another(tmp_path):
    both = ("--problems", "sinusoid,strokes", "--algorithms", "joint", "--rounds", "1")
    own = ("--set", "sinusoid.hidden=4", "--set", "strokes.channels=2", "--set", "meta_batch=2")
    done = metaviz("benchmark", *both, *own, "--no-weigh", "--out", tmp_path)
    assert done.code == 0, done.error
    assert [row["problem"] for row in rows(tmp_path / "benchmark.csv")] == ["sinusoid", "strokes"]


def test_a_method_without_an_inner_loop_is_measured_beside_one_with(tmp_path):
    outcome = metaviz(
        *("benchmark", "--problems", "strokes", "--algorithms", "maml,protonet", "--rounds", "1"),
        *("--set", "strokes.channels=2", "--set", "meta_batch=2", "--set", "query_shots=2"),
        *("--no-weigh", "--out", tmp_path),
    )
    assert outcome.code == 0, outcome.error
    maml, protonet = rows(tmp_path / "benchmark.csv")
    assert (maml["algorithm"], protonet["algorithm"]) == ("maml", "protonet")
    assert 0 < float(protonet["operations_per_step"]) < float(maml["operations_per_step"])
    assert protonet["note"] == ""


def test_a_run_that_diverges_is_noted_and_leaves_the_others_alone():
    runs = tiny_runs(algorithms=("maml", "fomaml"))
    spoilt = runs[0].shared.model_copy(update={"inner_lr": 1000.0, "inner_steps": 100})
    with Measurement([runs[0].model_copy(update={"shared": spoilt}), runs[1]]) as test:
        work = test.work(1)
        for _ in range(5):  # without the memory
            next(work)
        first, second = test.speeds()
    assert "finite" in first.note
    assert first.rate is None
    assert second.rate > 0


def test_steps_that_fail_end_their_own_laps_alone():
    def fail():
        raise RuntimeError("No memory.\nmore")

    broken, sound = Contestant(fail), Contestant(lambda: None)
    for one in (broken, sound):
        one.warm_up()
        one.lap()
    assert (broken.failure, broken.seconds) == ("No memory.", [])
    assert len(sound.seconds) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the most ever held is known")
def test_the_peak_of_a_process_of_its_own_grows_with_the_workload():
    orders = [
        Order(config.model_dump(mode="json"))
        for size in (2, 2000)
        for config in tiny_runs(meta_batch=size)
    ]
    small, large = peaks(orders)
    assert 0 < small < large


def test_networks_without_a_counterpart_have_no_exercise():
    assert counterpart(Conv4(2, norm=Norm("group"))) is None
    assert counterpart(Conv4(2, pooling="stride")) is None
    assert exercise_of(settle(tiny_runs()[0])) is not None
    tanh = counterpart(MLP((1, 3, 1), "tanh"))
    assert any(isinstance(layer, nn.Tanh) for layer in tanh())


@pytest.mark.parametrize("problem", ["sinusoid", "strokes"])
def test_higher_has_our_meta_gradient(problem):
    pytest.importorskip("higher")
    (run,) = tiny_runs(problem)
    assert distance("higher", run, settle(run).problem) < TOLERANCE


class Adapting:
    """Stands in for what learn2learn clones and what torchopt steps: weights in a graph."""

    def __init__(self, model, rate):
        self.model, self.rate = model, rate
        self.start = self.weights = dict(model.named_parameters())

    def __call__(self, x):
        return functional_call(self.model, self.weights, x)

    def adapt(self, loss):
        slopes = torch.autograd.grad(loss, self.weights.values(), create_graph=True)
        steps = zip(self.weights.items(), slopes, strict=True)
        self.weights = {name: weight - self.rate * slope for (name, weight), slope in steps}


def stand_in_for_learn2learn():
    class MAML:
        def __init__(self, model, lr, first_order):
            assert not first_order
            self.clone = lambda: Adapting(model, lr)

    package, module = ModuleType("learn2learn"), ModuleType("learn2learn.algorithms")
    module.MAML = MAML
    return {"learn2learn": package, "learn2learn.algorithms": module}


def stand_in_for_torchopt():
    class MetaSGD(Adapting):
        def __init__(self, model, lr):
            super().__init__(model, lr)
            model.forward = self

        def __call__(self, x):
            for layer in nn.Sequential.children(self.model):
                x = functional_call(layer, self.of(layer), x)
            return x

        def of(self, layer):
            place = next(name for name, one in self.model.named_children() if one is layer)
            return {
                name.removeprefix(f"{place}."): weight
                for name, weight in self.weights.items()
                if name.startswith(f"{place}.")
            }

        step = Adapting.adapt

    def extract(what, by):
        assert by == "reference"
        return what.weights if isinstance(what, MetaSGD) else None

    def recover(what, state):
        if isinstance(what, MetaSGD):
            what.weights = state

    module = ModuleType("torchopt")
    module.MetaSGD, module.extract_state_dict, module.recover_state_dict = MetaSGD, extract, recover
    return {"torchopt": module}


@pytest.mark.parametrize(
    ("peer", "stand_in"),
    [("learn2learn", stand_in_for_learn2learn), ("torchopt", stand_in_for_torchopt)],
)
def test_the_loops_of_absent_libraries_unroll_what_they_are_lent(peer, stand_in, monkeypatch):
    for name, module in stand_in().items():
        monkeypatch.setitem(sys.modules, name, module)
    (run,) = tiny_runs()
    assert distance(peer, run, settle(run).problem) < TOLERANCE


def test_the_csv_holds_what_was_measured_and_nothing_where_it_was_not():
    told = Speed(
        "strokes", "maml", "MetaViz", (0.5, 0.4, 0.6), PLACE, "float32", "eager", 10**9, 2e10, 0.1
    )
    blank = Speed("strokes", "maml", "torchopt", (), PLACE, "float32", note="No, none.")
    first, second = csv.DictReader(io.StringIO(speed_csv([told, blank])))
    assert tuple(first) == SPEED_HEADER
    assert float(first["steps_per_second"]) == 2
    assert float(first["share_of_limit"]) == pytest.approx(0.1)
    assert float(first["share_of_products"]) == pytest.approx(0.2)
    assert (first["workers"], first["peak_memory_mb"]) == ("2", "")
    assert {second[name] for name in SPEED_HEADER[3:7]} == {""}
    assert second["note"] == "No, none."


def test_a_place_is_told_in_words():
    assert place_text(PLACE) == "CPU, 2 workers × 1 thread"
    assert place_text({"device": "cuda", "gpu": "H200", "shards": 1}) == "CUDA · H200"


def test_a_step_that_is_not_compiled_is_not_passed_off_as_compiled() -> None:
    (tiny,) = tiny_runs(algorithms=("reptile",))
    update = {"engine": "compiled", "options": {"batch_size": 2}}
    with Measurement([tiny.model_copy(update=update)]) as test:
        for _ in test.work(1, memory=False):
            pass
        (found,) = test.speeds()
    assert found.engine == "compiled"
    assert "The meta-step is not compiled" in found.note
