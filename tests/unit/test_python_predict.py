"""Prediction, adaptation and export from Python; the network in a plain PyTorch module."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import metaviz
from metaviz.config.options import OptionError
from metaviz.training.protocol import episode
from tests.unit.command_line import metaviz as command
from tests.unit.command_line import refusal
from tests.unit.stored import config, train
from tests.unit.test_predict_run import PROTOCOL, drawn, predicted, strokes

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strokes("maml", tmp_path_factory.mktemp("maml"))


def test_python_predicts_what_the_command_does(maml: Path, tmp_path: Path) -> None:
    support, query, one = drawn(maml, tmp_path)
    found = metaviz.predict(maml, support, query, steps=3)
    told = predicted(maml, support, query, "--steps", "3")
    assert found.probabilities is not None
    assert found.probabilities.tolist() == told["probabilities"]
    assert found.outputs.tolist() == told["outputs"]
    assert [found.k, list(found.classes), list(found.names)] == [3, told["classes"], told["names"]]
    assert found.answers(0) == tuple(told["predicted"][0])
    assert found.accuracy() is None
    assert found.table().rows == 4 * 9
    assert "<table>" in found._repr_html_()
    arrays = metaviz.predict(maml, (255 - one.support.x, one.support.y), 255 - one.query.x)
    assert np.array_equal(arrays.outputs, found.outputs[:3])
    with pytest.raises(IndexError, match="k = 4 is not one of 0 to 3"):
        found.answers(4)


def test_an_adapted_network_predicts_and_is_written(maml: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(maml, tmp_path)
    run = metaviz.open_run(maml)
    adapted = metaviz.adapt(run, support)
    assert (adapted.k, len(adapted.classes)) == (2, 3)
    expected = metaviz.predict(run, support, query)
    assert np.array_equal(adapted.predict(query).outputs, expected.outputs)
    path = adapted.save(tmp_path / "new" / "net.safetensors")
    state = load_file(path)
    assert {name: value.tolist() for name, value in adapted.weights().items()} == {
        name: value.tolist() for name, value in state.items()
    }
    with safe_open(path, "pt") as file:
        about = file.metadata()
    assert (about["run"], about["k"], about["algorithm"]) == (run.id, "2", "maml")
    again = torch.load(adapted.save(tmp_path / "net.pt"), weights_only=True)
    assert all(torch.equal(again[name], value) for name, value in state.items())
    with pytest.raises(OptionError, match=r"net.bin is not valid: use a name ending in"):
        adapted.save(tmp_path / "net.bin")
    other = strokes("protonet", tmp_path / "other")
    with pytest.raises(OptionError, match="not the output of one network"):
        metaviz.adapt(other, support)


def block(name: str, number: int) -> str:
    text = (DOCS / name).read_text(encoding="utf-8")
    found: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return found[number]


@pytest.mark.parametrize("k", [0, 2])
def test_the_module_of_the_docs_has_the_outputs_of_the_episode(
    maml: Path, tmp_path: Path, k: int
) -> None:
    support, _, one = drawn(maml, tmp_path)
    metaviz.adapt(maml, support, steps=k).save(tmp_path / "net.safetensors")
    space: dict[str, Any] = {"FILE": str(tmp_path / "net.safetensors")}
    exec(block("networks.md", 0), space)
    x = torch.from_numpy(one.query.x.astype(np.float32) / 255)
    with torch.no_grad():
        outputs = space["net"](x).numpy()
    assert np.abs(outputs).max() > 0.1
    assert np.abs(outputs - one.query.outputs[k]).max() < 1e-5


def test_weights_command_writes_trained_and_adapted_networks(maml: Path, tmp_path: Path) -> None:
    support, _, _ = drawn(maml, tmp_path)
    out = tmp_path / "trained.pt"
    assert command("weights", maml, "--out", out).out == f"{out}\n"
    start = torch.load(out, weights_only=True)
    assert set(start) == set(metaviz.adapt(maml, support, steps=0).weights())
    zero = metaviz.adapt(maml, support, steps=0).weights()
    assert all(np.array_equal(start[name].numpy(), value) for name, value in zero.items())
    adapted = tmp_path / "adapted.safetensors"
    command("weights", maml, "--out", adapted, "--support", support, "--steps", "2")
    two = metaviz.adapt(maml, support).weights()
    found = load_file(adapted)
    assert all(np.array_equal(found[name].numpy(), value) for name, value in two.items())
    assert not np.array_equal(found["head.bias"].numpy(), zero["head.bias"])


def test_onnx_is_written_or_says_what_to_install(maml: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        said = refusal("weights", maml, "--out", path)
        assert said.startswith("ONNX files need a package: pip install 'metaviz[onnx]'")
        return
    runtime = pytest.importorskip("onnxruntime")
    run = train(config("maml"), tmp_path)
    one = episode(run, PROTOCOL, 0)
    metaviz.adapt(run, (one.support.x, one.support.y)).save(path)
    for count in (1, len(one.query.x)):
        x = one.query.x[:count].astype(np.float32)
        (found,) = runtime.InferenceSession(path).run(None, {"x": x})
        assert np.abs(found - one.query.outputs[one.k][:count]).max() < 1e-5
    # Convolutions are laid out for the number of examples that they see, which ONNX would keep.
    assert "cannot be written as ONNX" in refusal("weights", maml, "--out", tmp_path / "conv.onnx")


def test_regression_adapts_and_is_written(tmp_path: Path) -> None:
    run = train(config("maml"), tmp_path)
    one = episode(run, PROTOCOL, 0)
    adapted = metaviz.adapt(run, (one.support.x, one.support.y))
    assert adapted.classes == ()
    outputs = adapted.predict(one.query.x).outputs
    assert np.abs(outputs[: one.k + 1] - one.query.outputs[: one.k + 1]).max() < 1e-5
    weights = adapted.weights()
    x = one.query.x.astype(np.float32)
    for layer in (1, 2, 3):
        x = x @ weights[f"layer{layer}.weight"].T + weights[f"layer{layer}.bias"]
        x = np.maximum(x, 0) if layer < 3 else x
    assert np.abs(x - outputs[one.k]).max() < 1e-5
