"""Matching networks: published numbers, full context, identities."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.matching import FullContext
from metaviz.nets.identity import Identity
from tests.oracle.engine import assert_close
from tests.oracle.episodes import Episode, double, drawn, episode_of, golden

PUBLISHED = golden("matching")
FCE = PUBLISHED["fce"]
LSTMS = {"forward": "forward", "backward": "backward", "reading": "attention_lstm"}
FIXED = {"learn_scale": False}


def published() -> Episode:
    return episode_of(PUBLISHED["inputs"], "matching")


@pytest.mark.parametrize("scale", [1, 10])
def test_golden_attention_probabilities_and_losses(scale: int) -> None:
    episode = published()
    for options in ({"scale": scale, **FIXED}, {"scale": scale}):
        for found in (episode.found(**options), episode.on_identity(**options)):
            assert_close(found.maps["cosines"][0], PUBLISHED["cosines"], 1e-9)
            if scale == 1:
                assert_close(found.maps["attention"][0], PUBLISHED["attention_scale1"], 1e-9)
            shares = double(PUBLISHED[f"probabilities_scale{scale}"])
            assert_close(found.maps["probabilities"][0], shares, 1e-9)
            assert_close(found.outputs[0], torch.log(shares + 1e-6), 1e-9)
            right = found.maps["probabilities"][0][range(4), episode.query_y]
            loss = -torch.log(right + 1e-6).mean()
            assert float(loss) == pytest.approx(PUBLISHED[f"loss_scale{scale}"], abs=1e-9)
    judged = {1: 0.9934530470232614, 10: 2.3778450086256773}[scale]
    step = episode.step(scale=scale)
    assert float(step.readings["post_query_loss"]) == pytest.approx(judged, abs=1e-9)


def test_golden_sum_of_cosines() -> None:
    options = {"answer": "sum", "scale": 1, **FIXED}
    assert_close(published().outputs(**options), PUBLISHED["ravi_logits"], 1e-9)
    assert_close(published().logs(**options), PUBLISHED["ravi_log_probabilities"], 1e-9)
    assert_close(published().on_identity(**options).outputs[0], PUBLISHED["ravi_logits"], 1e-9)


def context_weights() -> Tensor:
    parts = {}
    for name, key in LSTMS.items():
        stored = FCE[key]
        for kind, of in (("input", "w_ih"), ("hidden", "w_hh"), ("bias", "b")):
            parts[f"{name}.{kind}"] = double(stored[of])
    return FullContext(FCE["reads"]).layout(Identity(2)).join(parts)


def in_context(weights: Tensor) -> Episode:
    count = len(FCE["g_support"])
    support, query = double(FCE["g_support"]), double(FCE["f_query"])
    labels = torch.arange(count)
    return Episode(support, labels, query, torch.tensor([0, 1]), "matching", {"context": weights})


def test_golden_full_context() -> None:
    found = in_context(context_weights()).found(context="lstm", reads=FCE["reads"])
    assert_close(found.maps["support"][0], FCE["g_context"], 1e-9)
    assert_close(found.maps["query"][0], FCE["f_context"], 1e-9)
    last = torch.softmax(found.maps["query"][0] @ found.maps["support"][0].mT, 1)
    assert_close(last, FCE["last_attention"], 1e-9)


def test_without_weights_full_context_changes_nothing() -> None:
    episode = in_context(torch.zeros_like(context_weights()))
    assert torch.equal(episode.outputs(context="lstm"), episode.outputs())


def test_pytorchs_lstm_says_the_same_along_the_support_set() -> None:
    weights = context_weights()
    params = FullContext(2).layout(Identity(2)).split(weights)
    lstm = torch.nn.LSTM(2, 2, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for name, end in (("forward", "l0"), ("backward", "l0_reverse")):
            getattr(lstm, f"weight_ih_{end}").copy_(params[f"{name}.input"])
            getattr(lstm, f"weight_hh_{end}").copy_(params[f"{name}.hidden"])
            getattr(lstm, f"bias_ih_{end}").copy_(params[f"{name}.bias"])
            getattr(lstm, f"bias_hh_{end}").zero_()
        support = double(FCE["g_support"])
        states = lstm(support)[0]
    expected = support + states[:, :2] + states[:, 2:]
    found = in_context(weights).found(context="lstm").maps["support"][0]
    assert_close(found, expected, 1e-12)


def test_the_order_of_the_support_set_matters_in_full_context_alone() -> None:
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    for context in ("none", "lstm"):
        episode = drawn(method="matching")
        mixed = Episode(
            *(episode.support[order], episode.support_y[order], episode.query, episode.query_y),
            method="matching",
        )
        one, other = (chosen.outputs(context=context) for chosen in (episode, mixed))
        assert torch.allclose(one, other, rtol=1e-10) == (context == "none")


def test_lengths_and_repeated_support_examples_change_nothing() -> None:
    episode = drawn(method="matching")
    expected = episode.outputs()
    lengths = torch.linspace(0.5, 3, 6, dtype=torch.float64).unsqueeze(1)
    longer = Episode(
        *(lengths * episode.support, episode.support_y, 7 * episode.query, episode.query_y),
        method="matching",
    )
    assert_close(longer.outputs(), expected, 1e-12)
    twice = Episode(
        *(episode.support.repeat(2, 1), episode.support_y.repeat(2)),
        *(episode.query, episode.query_y),
        method="matching",
    )
    assert_close(twice.outputs(), expected, 1e-12)


@pytest.mark.parametrize(("lowest", "key"), [(-1, "cos_from_minus1"), (0, "cos_from_0_after_relu")])
def test_without_a_scale_no_answer_is_sure(lowest: int, key: str) -> None:
    """The best that five classes of one shot can do with a scale of 1, see the option's text."""
    most, least_loss = PUBLISHED["floor"][key]
    assert most == pytest.approx(np.e / (np.e + 4 * np.exp(lowest)), abs=1e-12)
    assert least_loss == pytest.approx(-np.log(most), abs=1e-12)
    support = torch.eye(5, dtype=torch.float64)
    if lowest < 0:
        support = torch.stack([support[0], *(-support[0] for _ in range(4))])
    episode = Episode(support, torch.arange(5), support[:1], torch.tensor([0]), "matching")
    shares = episode.found(scale=1, **FIXED).maps["probabilities"][0, 0]
    assert float(shares[0]) == pytest.approx(most, abs=1e-12)


def test_attention_peaks_at_the_copy() -> None:
    episode = drawn(method="matching", queries=6)
    copies = Episode(
        *(episode.support, episode.support_y, episode.support.flip(0), episode.support_y.flip(0)),
        method="matching",
    )
    attention = copies.found().maps["attention"][0]
    assert attention.argmax(1).tolist() == [5, 4, 3, 2, 1, 0]
