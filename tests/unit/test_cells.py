"""Cells as strings: what is one, which are the same, and how many there are."""

import subprocess
import sys
from itertools import permutations

import pytest

from metaviz.config.cells import (
    IMAGE_OPERATIONS,
    INPUTS,
    MOST_BLOCKS,
    VECTOR_OPERATIONS,
    Half,
    blocks_of,
    canonical,
    cell_text,
    checked_cell,
    depths,
    expanded,
    grown,
    loose_ends,
    parse_cell,
)
from metaviz.config.options import OptionError
from metaviz.problems.registry import find_problem

DESKTOP = ("id", "conv3", "sep3", "max3")


def parsed(text):
    return parse_cell(text, IMAGE_OPERATIONS)


def test_a_cell_is_read_and_written():
    cell = parsed("0.conv3+1.id|2.sep3+0.max3")
    assert cell[1] == (Half(2, "sep3"), Half(0, "max3"))
    assert cell_text(cell) == "0.conv3+1.id|2.sep3+0.max3"
    assert depths(cell) == (0, 1)
    assert loose_ends(cell) == (1,)
    assert loose_ends(parsed("0.conv3+1.id|1.sep3+0.max3")) == (0, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no operation on an input"),
        ("0.conv3", "not of two"),
        ("0.conv3+1.id+0.id", "a sum of 3"),
        ("0.conv3+1.conv7", "no operation 'conv7'"),
        ("0.conv3+2.id", "no 2"),
        ("0.conv3+1.id|3.id+0.id", "no 3"),
        ("-1.conv3+1.id", "no operation on an input"),
        ("².id+1.id", "no operation on an input"),
        ("0.conv3+1.id|" * MOST_BLOCKS + "0.id+1.id", f"{MOST_BLOCKS + 1} blocks"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_sentence(text, why):
    with pytest.raises(ValueError, match="is no cell") as caught:
        checked_cell(text, IMAGE_OPERATIONS)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["omniglot.cell", "images.cell", "strokes.cell"], ids=lambda key: key.partition(".")[0]
)
def test_problems_refuse_what_is_no_cell(key):
    problem = key.partition(".")[0]
    with pytest.raises(OptionError, match="there is no operation 'tanh'"):
        find_problem(problem).checked({"cell": "0.tanh+1.id"})
    assert find_problem(problem).checked({"cell": ""}).cell is None


def test_the_command_line_refuses_a_wrong_cell_before_torch_comes():
    code = (
        "import sys\n"
        "from metaviz.cli.options import read_asked\n"
        "from metaviz.config.options import OptionError\n"
        "try:\n"
        "    read_asked({'problem': 'sinusoid'}, ['sinusoid.cell=0.conv3+1.id'])\n"
        "except OptionError as error:\n"
        "    print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    sentence, imported = done.stdout.strip().splitlines()
    assert "is no cell: there is no operation 'conv3'" in sentence
    assert imported == "False"


@pytest.mark.parametrize(("operations", "count"), [(IMAGE_OPERATIONS, 136), (DESKTOP, 36)])
def test_one_block_has_as_many_forms_as_pairs_of_halves(operations, count):
    doubled = INPUTS  # twice the identity of one input, which is left out
    assert len(blocks_of(INPUTS, operations)) == count - doubled
    assert count == len(operations) * INPUTS * (len(operations) * INPUTS + 1) // 2


def test_one_more_block_has_the_counts_of_the_literature():
    first = grown([()], DESKTOP)
    assert len(first) == 34
    assert {len(expanded(cell, DESKTOP)) for cell in first} == {75}
    assert {len(expanded(cell, DESKTOP)) for cell in grown(first[:2], DESKTOP)} == {132}


def test_halves_and_independent_blocks_have_one_order():
    forms = [
        "0.conv3+1.id|1.sep3+0.max3",
        "1.id+0.conv3|0.max3+1.sep3",
        "0.max3+1.sep3|1.id+0.conv3",
    ]
    assert len({canonical(parsed(form)) for form in forms}) == 1
    other = "0.conv3+1.id|1.sep3+1.max3"
    assert canonical(parsed(other)) != canonical(parsed(forms[0]))


def test_relabelled_cells_have_one_form():
    """Blocks in any order in which each comes before its use, relabelled by hand."""
    cell = parsed("0.conv3+1.id|0.max3+1.sep3|2.id+3.conv3|2.sep3+0.id")
    forms = []
    for order in permutations(range(4)):
        place = {old + INPUTS: new + INPUTS for new, old in enumerate(order)} | {0: 0, 1: 1}
        form = tuple(
            tuple(Half(place[half.input], half.operation) for half in cell[old]) for old in order
        )
        if all(h.input < INPUTS + n for n, block in enumerate(form) for h in block):
            forms.append(form)
    assert len(forms) > 3
    assert {canonical(form) for form in forms} == {canonical(cell)}


def test_equal_blocks_do_not_make_two_forms_of_one_network():
    same = [parsed(f"0.conv3+1.id|0.conv3+1.id|{used}.id+0.max3") for used in (2, 3)]
    assert canonical(same[0]) == canonical(same[1])


def test_vectors_have_operations_of_their_own():
    assert find_problem("sinusoid").checked({"cell": "0.sin+1.id"}).cell == "0.sin+1.id"
    assert len(grown([()], VECTOR_OPERATIONS)) == 34
