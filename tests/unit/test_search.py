"""A search proposes children from what is finished alone, and its surrogate learns."""

import random

import pytest

from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.cells import Half, canonical, cell_text, grown, parse_cell
from metaviz.config.options import OptionError
from metaviz.config.proposer import Finished, run_key
from metaviz.config.run_config import Comparison, read_toml
from metaviz.config.search import Search, find_search, read_plan, shipped_searches
from metaviz.config.sweep import parse_axis, plan_sweep
from metaviz.runs.analysis.search import rank_correlation
from metaviz.training.search.surrogate import rank

CATALOGUE = shipped_catalogue()
VALUES = {"id": 0.05, "conv3": 0.3, "sep3": 0.2, "max3": 0.1, "relu": 0.2, "tanh": 0.25, "sin": 0.3}
COMPARISON = {"problem": "sinusoid", "algorithms": ["maml"], "steps": 3}


def plan_of(comparison=COMPARISON, **search):
    values = {"name": "one", "search": search, "comparison": comparison}
    return read_plan(values, CATALOGUE)


def value(text):
    """A score that adds up over a cell's operations; unlike what is random it can be learned."""
    halves = [half for block in text.split("|") for half in block.split("+")]
    return sum(VALUES[half.partition(".")[2]] for half in halves) / (2 * len(halves) + 1)


def finished(child, score):
    return Finished(child.config.model_dump(mode="json"), score)


def played(search, score=value):
    """Play a whole search with a score in place of training; return its generations."""
    over = []
    while search.propose(over) is not None:
        children = search.generations(over)[-1].children
        over += [finished(c, score(c.cell) if c.cell else 0.1) for c in children]
    return search.generations(over), over


@pytest.fixture(scope="module")
def whole():
    """A search of three generations and its final trainings."""
    search = Search(plan_of(blocks=3, beam=4, controls=2), CATALOGUE, rank)
    return search, *played(search)


def test_generations_have_every_cell_then_the_beam_and_the_controls(whole):
    _, generations, _ = whole
    kinds = [[child.kind for child in one.children] for one in generations]
    assert kinds[0] == ["all"] * 34 + ["reference"] * 3
    assert kinds[1] == kinds[2] == ["top"] * 4 + ["random"] * 2
    assert kinds[3] == ["final"] * 9
    assert generations[0].candidates == 34
    assert 4 * 75 - 20 < generations[1].candidates <= 4 * 75
    assert 4 * 132 - 60 < generations[2].candidates <= 4 * 132


def test_children_of_a_generation_are_different_and_have_as_many_blocks(whole):
    _, generations, _ = whole
    for number, one in enumerate(generations[:3], 1):
        texts = [child.cell for child in one.children if child.cell]
        assert len(set(texts)) == len(texts)
        assert {text.count("|") for text in texts} == {number - 1}


def test_the_best_before_are_grown(whole):
    _, generations, _ = whole
    cells = [child.cell for child in generations[0].children if child.cell]
    best = sorted(cells, key=lambda text: (-value(text), text))[:4]
    operations = ("id", "relu", "tanh", "sin")
    family = grown([parse_cell(text, operations) for text in best], operations)
    assert {c.cell for c in generations[1].children} <= set(map(cell_text, family))


def test_a_search_asked_again_proposes_the_same_children(whole):
    search, generations, over = whole
    shuffled = list(over)
    random.Random(3).shuffle(shuffled)
    assert search.generations(shuffled) == generations
    again = Search(search.plan, CATALOGUE, rank)
    assert again.generations(over) == generations
    other = Search(search.plan.model_copy(update={"search": search.plan.search.model_copy(
        update={"seed": 1})}), CATALOGUE, rank)  # fmt: skip
    assert other.generations(over[:37]) != generations[:2]


def test_a_generation_that_is_not_over_is_proposed_without_what_is(whole):
    search, generations, over = whole
    part = over[: 37 + 2]
    wanted = [child.config for child in generations[1].children[2:]]
    assert search.propose(part) == wanted
    assert search.propose(over) is None


def test_a_beam_of_all_is_exhaustive():
    plan = plan_of(blocks=2, beam=1000, operations="id,tanh", final_steps=None, references=False)
    generations, _ = played(Search(plan, CATALOGUE, rank))
    operations = ("id", "tanh")
    every = {cell_text(cell) for cell in grown(grown([()], operations), operations)}
    assert {child.cell for child in generations[1].children} == every
    assert len(generations) == 2


def test_what_is_trained_at_length_has_new_seeds_and_test_classes():
    plan = read_plan(read_toml(find_search("strokes")), CATALOGUE)
    search = Search(plan, CATALOGUE, lambda known, cells, seed: ([0.5] * len(cells),) * 2)
    generations, over = played(search)
    scores = {one.config["problem_options"].get("cell"): one.score for one in over[: 37 + 12]}
    final = generations[-1].children
    assert {child.config.seed for child in final} == {101, 102, 103}
    assert not {child.config.seed for child in final} & set(plan.comparison.seeds)
    assert {child.config.problem_options["held_out"] for child in final} == {"test"}
    before = generations[0].children[0].config
    assert before.problem_options["held_out"] == "validation"
    assert {child.config.steps for child in final} == {80}
    best = {child.cell for child in final if child.role == "best cell"}
    assert scores[best.pop()] == max(value(c) for c in scores if c)
    drawn = {c.cell for one in generations[1:3] for c in one.children if c.kind == "random"}
    assert {child.cell for child in final if child.role == "best random cell"} <= drawn
    usual = [child.config.problem_options for child in final if child.role == "Conv4-32"]
    assert {options["channels"] for options in usual} == {32}
    assert {options["backbone"] for options in usual} == {"conv4"}


def test_a_child_that_diverged_is_no_parent():
    def score(text):
        return 0.0 if "sin" in text else value(text)

    search = Search(plan_of(blocks=2, beam=2, controls=1), CATALOGUE, rank)
    generations, _ = played(search, score)
    first = [c.cell for c in generations[0].children if c.cell]
    best = sorted(first, key=lambda text: (-score(text), text))[:2]
    operations = search.operations
    family = grown([parse_cell(text, operations) for text in best], operations)
    assert generations[1].candidates == len(family)
    assert not any("sin" in text for text in best)


def additive():
    """One-block cells of images with scores that add up over inputs and operations."""
    cells = grown([()], ("id", "conv3", "sep3", "max3"))
    scores = [sum(VALUES[h.operation] + 0.1 * h.input for h in cell[0]) for cell in cells]
    return list(zip(cells, scores, strict=True))


def test_the_surrogate_learns_an_additive_score_of_34_cells():
    known = additive()
    means, spreads = rank(known, [cell for cell, _ in known], 0)
    assert rank_correlation(means, [score for _, score in known]) > 0.9
    assert min(spreads) > 0


def test_the_surrogate_orders_cells_of_more_blocks_than_it_saw():
    known = additive()
    candidates = [canonical((*cell, (Half(0, op), Half(1, op)))) for cell, _ in known[:8]
                  for op in ("conv3", "max3")]  # fmt: skip
    means, _ = rank(known, candidates, 0)
    truth = [
        sum(VALUES[h.operation] + 0.1 * h.input for block in cell for h in block) / len(cell)
        for cell in candidates
    ]
    assert rank_correlation(means, truth) > 0.5


def test_the_surrogate_is_the_same_for_the_same_seed_in_any_order():
    known = additive()
    cells = [cell for cell, _ in known]
    assert rank(known, cells, 3) == rank(known[::-1], cells, 3)
    assert rank(known, cells, 3) != rank(known, cells, 4)


def test_a_sweep_is_a_proposer_too():
    comparison = Comparison(algorithms=("maml",), steps=3)
    sweep = plan_sweep(comparison, [parse_axis("inner_lr=0.01,0.1")], CATALOGUE)
    first, second = sweep.propose(())
    done = Finished(first.model_dump(mode="json"), 1.0)
    assert sweep.propose([done]) == [second]
    assert sweep.propose([done, Finished(second.model_dump(mode="json"), 0.0)]) is None


def test_runs_that_name_their_defaults_are_the_same_runs():
    plain = {"problem": "sinusoid", "algorithm": "reptile", "seed": 0, "steps": 3, "shared": {}}
    told = {**plain, "options": {"data": "all"}, "problem_options": {"hidden": 40, "cell": None}}
    other = {**plain, "problem_options": {"cell": "0.tanh+1.id"}}
    assert run_key(plain, CATALOGUE) == run_key(told, CATALOGUE)
    assert run_key(plain, CATALOGUE) != run_key(other, CATALOGUE)


@pytest.mark.parametrize("name", ["omniglot", "sinusoid", "strokes"])
def test_shipped_searches_are_searches(name):
    assert name in shipped_searches()
    assert read_plan(read_toml(find_search(name)), CATALOGUE).name == name


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "../away"}, "letters, digits and hyphens"),
        ({"name": ""}, "letters, digits and hyphens"),
        ({"speed": 3}, "no key 'speed'"),
        ({"search": {"beam": 0}}, "search.beam = 0"),
        ({"search": {"operations": "id,conv3"}}, "no operation 'conv3'"),
        ({"search": {"operations": "tanh"}}, "two or more"),
        ({"search": 3}, "must be a table"),
        ({"search": {"final_seeds": "3-1"}}, "write 0,1,2 or 0-4"),
        ({"comparison": {**COMPARISON, "problem": "quadratic"}}, "not made of cells"),
        ({"comparison": {**COMPARISON, "algorithms": ["maml", "reptile"]}}, "one method"),
        ({"comparison": {**COMPARISON, "seeds": [0, 1]}}, "one seed"),
        ({"comparison": {**COMPARISON, "steps": 0}}, "steps = 0"),
    ],
)
def test_what_is_no_search_is_refused_in_one_sentence(change, why):
    values = {"name": "one", "search": {}, "comparison": COMPARISON} | change
    with pytest.raises(OptionError) as caught:
        read_plan(values, CATALOGUE)
    assert why in str(caught.value)
