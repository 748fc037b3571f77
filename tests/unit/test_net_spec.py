"""Networks as plain values: weights say what they belong to, and need no data to be read."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors import safe_open

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.nets.layout import Params
from metaviz.nets.spec import NETS, NetSpec, build, net_spec, read_spec
from metaviz.runs.storage.store import ABOUT, open_run
from metaviz.training.setting import Setting, settle
from metaviz.training.weights import write_weights
from tests.oracle.engine import FEATURES
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import begin, resume, train
from tests.unit.test_image_layouts import split_folders
from tests.unit.test_omniglot_files import files, unpack

SHARED = Shared(
    meta_batch=1, eval_tasks=2, eval_steps=1, inner_steps=1, ways=2, shots=1, query_shots=1
)
NORMS: dict[str, Any] = {"norm": "group", "norm_affine": "beta", "norm_eps": 1e-3}
MATRICES = tomli_w.dumps(
    {
        "support_hessian": [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]],
        "support_linear": [1.0, 0.0, 0.5],
        "query_hessian": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "query_linear": [0.0, 1.0, 0.0],
        "start": [0.1, 1e-7, 3.0],
    }
)


def two_alphabets(root: Path) -> Path:
    """Write two characters of each of two alphabets."""
    there = files()
    more = {name.replace("Latin/character01", "Latin/character02"): d for name, d in there.items()}
    return unpack(root, there | more)


def matrices(root: Path) -> Path:
    """Write the matrices of a quadratic problem."""
    return unpack(root, {"matrices.toml": MATRICES.encode()}) / "matrices.toml"


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("sinusoid", {"hidden": 5, "activation": "tanh"}),
    "vector_cells": ("sinusoid", {"hidden": 5, "cell": "0.tanh+1.id|2.sin+0.relu", "cells": 1}),
    "cells": (
        "strokes",
        {"backbone": "cells", "cell": "0.conv3+1.id|2.sep3+0.max3", "cells": 2, "channels": 3},
    ),
    "point": ("quadratic", {"file": matrices}),
    "strokes": ("strokes", {"channels": 3, **NORMS}),
    "strided": ("strokes", {"channels": 3, "pooling": "stride", "norm_adapted": False}),
    "omniglot": ("omniglot", {"channels": 3, "path": two_alphabets}),
    "conv4": ("images", {"channels": 3, "path": split_folders}),
    "conv4 of a side": ("images", {"channels": 3, "side": 33, "path": split_folders, **NORMS}),
    "linear": ("features", {"path": str(FEATURES), "bias": False}),
    "agent": ("navigation", {"hidden": 5, "horizon": 4, "estimator": "dice", "discount": 0.9}),
    "agent of a table": ("chain", {"states": 3, "actions": 2, "horizon": 4, "reward_std": 0.5}),
    "resnet12": (
        "images",
        {"backbone": "resnet12", "widths": "64-128-256-512", "side": 16, "path": split_folders},
    ),
    "resnet12_simple": (
        "images",
        {"backbone": "resnet12_simple", "side": 16, "norm": "support", "path": split_folders},
    ),
}


def asked(name: str, root: Path) -> RunConfig:
    """Return a short run of a kind, whose data are written below a folder."""
    problem, options = KINDS[name]
    values = {key: str(v(root)) if callable(v) else v for key, v in options.items()}
    return RunConfig(
        problem=problem,
        algorithm="joint",
        seed=3,
        steps=1,
        device="cpu",
        shared=SHARED,
        problem_options=values,
    )


def outputs(setting: Setting, folder: Path) -> tuple[torch.Tensor, Any]:
    """Return what a run's weights say of a query set, and the query set."""
    tasks = setting.batch(5)
    start = load_checkpoint(folder / CHECKPOINT)["meta"]["init"]
    with torch.no_grad():
        return setting.learner.outputs(start.expand(len(tasks), -1), tasks.query), tasks.query


def read(path: Path) -> tuple[dict[str, str], Params]:
    """Return all that a file of weights holds."""
    with safe_open(path, "pt") as opened:
        return opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_weights_alone_makes_the_network_again_without_data(
    name: str, tmp_path: Path
) -> None:
    config = asked(name, tmp_path / "data")
    folder = train(config, tmp_path / "runs")
    setting = settle(config)
    wanted, query = outputs(setting, folder)
    if (tmp_path / "data").exists():
        (tmp_path / "data").rename(tmp_path / "moved")
    path = tmp_path / "w.safetensors"
    done = metaviz("weights", folder, "--out", path)
    assert (done.code, done.out) == (0, f"{path}\n"), done.error

    about, tensors = read(path)
    net = build(NetSpec.from_json(about["network"]))
    params = {
        part: tensors[f"init.{part}"].expand(len(query.x), *shape)
        for part, shape in net.layout.shapes
    }
    assert net.held == setting.learner.net.held
    with torch.no_grad():
        assert torch.equal(net(net.layout.join(params), query.x, query.beside), wanted)
    assert json.loads(about["groups"]) == ["init"]


@pytest.mark.parametrize("name", KINDS)
def test_a_network_survives_run_toml_and_json(name: str, tmp_path: Path) -> None:
    config = asked(name, tmp_path / "data")
    spec = settle(config).problem.net_spec()
    session = begin(config, tmp_path / "runs")
    session.end("stopped")
    folder = session.folder
    assert read_spec(open_run(folder).network) == spec == NetSpec.from_json(spec.to_json())
    assert tomllib.loads((folder / ABOUT).read_text("utf-8"))["network"] == spec.values()


def test_every_network_that_there_is_belongs_to_some_problem(tmp_path: Path) -> None:
    specs = [settle(asked(name, tmp_path / name)).problem.net_spec() for name in KINDS]
    assert {spec.id for spec in specs} == set(NETS) - {"identity"}  # for episodes in files
    assert all(spec.version == NETS[spec.id].entry.version for spec in specs)


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Path]:
    """Return a run on images of a version that did not store networks."""
    folder = train(asked("conv4", tmp_path / "data"), tmp_path / "runs")
    forget_network(folder)
    return folder


def forget_network(folder: Path) -> None:
    """Leave in a run's description what 0.1 wrote."""
    about = tomllib.loads((folder / ABOUT).read_text("utf-8"))
    del about["network"]
    (folder / ABOUT).write_text(tomli_w.dumps(about), "utf-8")


def test_weights_of_an_earlier_version_are_those_of_its_problem(
    earlier: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    assert metaviz("weights", earlier, "--out", path).code == 0
    about, _ = read(path)
    spec = NetSpec.from_json(about["network"])
    assert (spec.id, spec.options["image"], spec.options["ways"]) == ("conv4", 84, 2)


def test_weights_of_an_earlier_version_without_data_are_refused_in_a_sentence(
    earlier: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    said = refusal("weights", earlier, "--out", tmp_path / "w.safetensors")
    assert "did not store which network a run has" in said
    assert f"{tmp_path / 'data'} does not exist" in said
    assert not (tmp_path / "w.safetensors").exists()


def test_a_resumed_run_keeps_its_network(tmp_path: Path) -> None:
    folder = train(asked("mlp", tmp_path), tmp_path / "runs")
    network = open_run(folder).network
    assert open_run(resume(folder, 2)).network == network


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = train(asked("mlp", tmp_path), tmp_path / "runs")
    text = (folder / ABOUT).read_text("utf-8")
    about = tomllib.loads(text)
    about["network"]["options"]["widths"] = [1, 7, 7, 1]
    (folder / ABOUT).write_text(tomli_w.dumps(about), "utf-8")
    said = refusal("weights", folder, "--out", tmp_path / "w.safetensors")
    assert "has 46 weights, but its network has 78" in said


MLP = {"id": "mlp", "version": 1, "options": {"widths": [1, 2, 1], "activation": "relu"}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "A network is described by its id, its version and a table of options."),
        ({"id": "mlp"}, "A network is described by its id, its version and a table of options."),
        ({**MLP, "version": 0}, "A network is described by its id, its version and a table of"),
        ({**MLP, "options": [1]}, "A network is described by its id, its version and a table of"),
        ({**MLP, "id": "mpl"}, "There is no network 'mpl'; known: .* \\(did you mean mlp\\?\\)\\."),
        ({**MLP, "version": 2}, "mlp has version 2 here, and this program knows it up to version"),
        ({**MLP, "options": {}}, "mlp.widths is missing."),
        ({**MLP, "options": {**MLP["options"], "a": 1}}, "There is no option mlp.a; known: "),
        ({**MLP, "options": {**MLP["options"], "widths": [1]}}, "mlp.widths = .* is not valid"),
        ({**MLP, "options": {**MLP["options"], "widths": [1, 0]}}, "is not valid"),
        ({**MLP, "options": {**MLP["options"], "activation": "x"}}, "mlp.activation = 'x'"),
    ],
)
def test_what_describes_no_network_is_refused_in_a_sentence(values: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence) as refused:
        read_spec(values)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nonsense"])
def test_json_of_no_network_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(OptionError, match="not valid JSON"):
        NetSpec.from_json(text)


def test_images_too_small_for_a_network_are_refused() -> None:
    spec = net_spec(
        "resnet12",
        widths=(1, 1, 1, 1),
        ways=2,
        in_channels=3,
        image=8,
        norm="batch",
        norm_affine="both",
        norm_adapted=True,
        norm_eps=1e-5,
    )
    with pytest.raises(ValueError, match="cannot be halved four times"):
        build(spec)


def test_weights_of_a_method_name_all_their_groups(tmp_path: Path) -> None:
    config = asked("mlp", tmp_path).model_copy(update={"algorithm": "metasgd"})
    folder = train(config, tmp_path / "runs")
    write_weights(folder, tmp_path / "w.safetensors")
    about, tensors = read(tmp_path / "w.safetensors")
    assert json.loads(about["groups"]) == ["init", "rates"]
    assert {name.split(".")[0] for name in tensors} == {"init", "rates"}
    assert (about["format"], about["format_version"]) == ("pt", "1")
