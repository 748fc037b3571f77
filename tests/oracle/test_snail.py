"""SNAIL: published numbers, causality, one pass for all queries."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.snail import SNAILModel, SNAILOptions
from metaviz.config.options import OptionError
from metaviz.meta.draws import NO_DRAWS
from metaviz.meta.sharding import Shards
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.blocks import linear
from metaviz.nets.identity import Identity
from metaviz.nets.layout import Params
from metaviz.nets.temporal import Sequence, attend, dense_block, dense_blocks
from metaviz.training.recipe import CannotRecordError, Recipe
from tests.oracle.engine import DOUBLE, assert_close, build, called, classes, initial, shared
from tests.oracle.episodes import double, drawn, golden

PUBLISHED = golden("snail")
SEQUENCE = double(PUBLISHED["inputs"]["sequence"])


def params() -> Params:
    found: Params = {}
    for part, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        stored = PUBLISHED["attention"][letter]
        found[f"attention.{part}.weight"] = double(stored["w"])
        found[f"attention.{part}.bias"] = double(stored["b"])
    for block, stored in enumerate(PUBLISHED["dense_blocks"], 1):
        for part, letter in (("value", "f"), ("gate", "g")):
            for kind, key in (("now", "now"), ("past", "past"), ("bias", "b")):
                found[f"block{block}.{part}.{kind}"] = double(stored[letter][key])
    found["last.weight"] = double(PUBLISHED["head"]["w"])
    found["last.bias"] = double(PUBLISHED["head"]["b"])
    return {name: value.unsqueeze(0) for name, value in found.items()}


def read(steps: Tensor, dilations: tuple[int, int]) -> tuple[Sequence, Tensor, Sequence]:
    """Return a sequence after attention, its attention, and it after convolutions."""
    x = Sequence(steps[:-1].unsqueeze(0), steps[-1:].unsqueeze(0))
    after, attention = attend(params(), "attention", x)
    made = after
    for block, dilation in enumerate(dilations, 1):
        made = dense_block(params(), f"block{block}", made, dilation)
    return after, attention, made


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_golden_attention_convolutions_and_logits_at_every_step(length: int) -> None:
    after, attention, made = read(SEQUENCE[:length], (1, 2))
    expected = double(PUBLISHED["attention_weights"])[length - 1, :length]
    assert_close(attention[0, 0], expected, 1e-9)
    row = length - 1
    assert_close(after.last[0, 0], PUBLISHED["after_attention"][row], 1e-9)
    assert_close(made.last[0, 0], PUBLISHED["dilations_1_2"][row], 1e-9)
    logits = linear(params(), "last", made.last)[0, 0]
    assert_close(logits, PUBLISHED["logits"][row], 1e-9)
    ported = read(SEQUENCE[:length], (2, 4))[2]
    assert_close(ported.last[0, 0], PUBLISHED["dilations_2_4_as_in_port"][row], 1e-9)


def test_golden_steps_before_the_last_are_the_same() -> None:
    after, _, made = read(SEQUENCE, (1, 2))
    assert_close(after.known[0], PUBLISHED["after_attention"][:3], 1e-9)
    assert_close(made.known[0], PUBLISHED["dilations_1_2"][:3], 1e-9)


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_what_comes_later_changes_no_bit_of_what_was_before(changed: int) -> None:
    other = SEQUENCE.clone()
    other[changed] += 1.0
    (_, _, one), (_, _, two) = read(SEQUENCE, (1, 2)), read(other, (1, 2))
    assert torch.equal(one.known[:, :changed], two.known[:, :changed])
    assert not torch.equal(one.last, two.last)


def test_published_numbers_of_blocks_and_channels() -> None:
    layers = PUBLISHED["layers"]
    for length, blocks in layers["dense_blocks"].items():
        assert dense_blocks(int(length.removeprefix("T="))) == blocks
    model = SNAILModel(SNAILOptions(shots=1), ways=5)
    assert model.dilations == [1, 2, 4]
    shapes = dict(model.layout(Identity(64)).shapes)
    channels = [int(part) for part in layers["channels_omniglot_5w1s"].split(" -> ")]
    found = [
        shapes["attention1.query.weight"][1],
        shapes["block1.1.value.now"][1],
        shapes["attention2.query.weight"][1],
        shapes["block2.1.value.now"][1],
        shapes["attention3.query.weight"][1],
        shapes["last.weight"][1],
        shapes["last.weight"][0],
    ]
    assert found == channels
    assert SNAILModel(SNAILOptions(dilations="even", shots=1), 5).dilations == [2, 4, 8]
    assert len(SNAILModel(SNAILOptions(), 5).dilations) == 5


def test_each_query_is_read_as_if_it_were_alone() -> None:
    episode = drawn(method="snail")
    together = episode.outputs()
    for row in range(5):
        one = replace(
            episode, query=episode.query[row : row + 1], query_y=episode.query_y[row : row + 1]
        )
        weights = episode.meta()["sequence"]
        found = replace(one, own={"sequence": weights}).outputs()
        assert_close(found[0], together[row], 1e-12)


def test_the_query_comes_without_a_label() -> None:
    """The weights that read labels, of the last step's own query, are multiplied by zero."""
    episode = drawn(method="snail")
    algorithm = episode.algorithm()
    layout = SNAILModel(SNAILOptions(), 3).layout(Identity(4))
    weights = layout.split(episode.meta()["sequence"])
    changed = {name: value.clone() for name, value in weights.items()}
    changed["attention1.query.weight"][:, 4:] += 1.0
    other = replace(episode, own={"sequence": layout.join(changed)})
    one, two = (chosen.found().maps["attention"][0, 0] for chosen in (episode, other))
    assert_close(one, two, 1e-13)
    assert algorithm.traits.transductive is False


def test_training_reads_the_support_set_in_a_drawn_order() -> None:
    learner, tasks = classes(tasks=2)
    gradients = {}
    for order in ("drawn", "given"):
        algorithm = build("snail", shared(ways=3), order=order)
        meta = initial(algorithm, learner)
        for seed in (7, 8):
            context = called(algorithm, learner, tasks, seed)
            gradients[order, seed] = algorithm.meta_gradient(context, meta).gradients["init"]
    assert not torch.equal(gradients["drawn", 7], gradients["drawn", 8])
    assert torch.equal(gradients["given", 7], gradients["given", 8])


def test_a_longer_support_set_than_it_was_made_for_is_read() -> None:
    assert drawn(shots=4, method="snail").outputs(shots=1).shape == (5, 3)


def test_a_drawn_order_cannot_be_recorded() -> None:
    """It would be the same at every step."""
    learner, tasks = classes(tasks=2)
    for order in ("drawn", "given"):
        algorithm = build("snail", shared(ways=3), order=order)
        meta = initial(algorithm, learner)
        recipe = Recipe(algorithm, called(algorithm, learner, tasks), Shards(1))
        given = recipe.inputs(meta, tasks)
        if order == "drawn":
            with pytest.raises(CannotRecordError, match="its own random numbers, for snail order"):
                recipe(*given)
        else:
            recipe(*given)


def test_shots_of_a_training_task_are_drawn_from_a_range() -> None:
    """Each task reads the first examples of every class, as many as it drew, and those alone."""
    learner, tasks = classes(tasks=6, ways=3)
    shots = 4
    y = torch.arange(3).repeat(shots).expand(6, -1).contiguous()
    generator = torch.Generator().manual_seed(1)
    support = Batch(torch.randn(6, 3 * shots, 2, generator=generator, dtype=DOUBLE), y)
    drawn = TaskBatch(support, tasks.query)
    algorithm = build("snail", shared(ways=3), order="given", fewest_shots=2, train_shots=shots)
    meta = initial(algorithm, learner)
    outputs = algorithm.model.predict(called(algorithm, learner, drawn), meta, drawn.query).outputs
    whole = build("snail", shared(ways=3), order="given")
    read = []
    for task in range(6):
        one = drawn[task : task + 1]
        kept = [
            whole.model.predict(
                called(whole, learner, TaskBatch(one.support.examples(slice(3 * n)), one.query)),
                meta,
                one.query,
            ).outputs
            for n in range(1, shots + 1)
        ]
        equal = [n for n, of in enumerate(kept, 1) if torch.allclose(of, outputs[task], atol=1e-10)]
        assert len(equal) == 1
        read += equal
    assert set(read) == {2, 3, 4}
    without = replace(called(algorithm, learner, drawn), draws=NO_DRAWS)
    evaluated = algorithm.model.predict(without, meta, drawn.query)
    all_read = whole.model.predict(called(whole, learner, drawn), meta, drawn.query)
    assert torch.equal(evaluated.outputs, all_read.outputs)


def test_a_range_without_shots_is_refused() -> None:
    with pytest.raises(OptionError, match="fewest_shots = 3 is more than the 2 shots"):
        build("snail", shared(ways=3, shots=2), fewest_shots=3)
    assert build("snail", shared(ways=3, shots=2), fewest_shots=3, train_shots=3)
