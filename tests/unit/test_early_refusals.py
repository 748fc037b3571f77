"""What the shipped catalogue refuses before torch is there, and what torch's absence leaves out."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.options import OptionError, Options, OptionSpec, checked, model_of
from metaviz.config.overrides import check_comparison
from metaviz.config.run_config import Comparison, Shared
from metaviz.problems.registry import find_problem
from metaviz.training.engine import planned_runs

CATALOGUE = shipped_catalogue()
MODELS: dict[str, tuple[type[Options], tuple[OptionSpec, ...]]] = {
    "": (Shared, CATALOGUE.shared),
    **{e.id: (find_algorithm(e.id).options, e.options) for e in CATALOGUE.algorithms},
    **{e.id: (find_problem(e.id).options, e.options) for e in CATALOGUE.problems},
}
OPTIONS = [(owner, spec) for owner, (_, described) in MODELS.items() for spec in described]
HEAVY = ("torch", "numpy", "matplotlib", "PySide6")


def around(spec: OptionSpec) -> list[Any]:
    """Return values on, beside and far from an option's bounds, and of every kind."""
    bounds = [bound for bound in (spec.minimum, spec.maximum) if bound is not None]
    near = [bound + off for bound in bounds for off in (-1, -0.5, -1e-9, 0, 1e-9, 0.5, 1)]
    whole = [int(bound) for bound in bounds]
    texts = ["", "x", "3", "true", "none", "None", *spec.choices]
    numbers = [0, 1, -1, 2.0, 2.5, 1e308, -1e308, 10**30, float("nan"), float("inf")]
    return [*near, *whole, *texts, *numbers, True, False, None]


def outcome(model: type[Options], owner: str, values: dict[str, Any]) -> Any:
    """Return the sentence that refuses values, or the accepted ones."""
    try:
        return checked(model, values, f"{owner}." if owner else "").model_dump(include=set(values))
    except OptionError as error:
        return error.field, str(error)


def assert_same(owner: str, values: dict[str, Any]) -> None:
    model, described = MODELS[owner]
    early, late = outcome(model_of(described), owner, values), outcome(model, owner, values)
    # A validator of the model itself compares options: no bound of one option is wrong then.
    by_validator = isinstance(early, dict) and isinstance(late, tuple) and late[0] == owner
    assert early == late or by_validator, (owner, values)


@pytest.mark.parametrize("owner", MODELS)
def test_catalogue_and_model_say_the_same_of_every_option(owner: str) -> None:
    refused = 0
    for spec in MODELS[owner][1]:
        for value in around(spec):
            assert_same(owner, {spec.name: value})
        refused += isinstance(outcome(model_of([spec]), owner, {spec.name: object()}), tuple)
    assert refused == len(MODELS[owner][1])


@given(
    st.sampled_from(OPTIONS),
    st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()),
)
@settings(max_examples=300, deadline=None)
def test_catalogue_and_model_say_the_same_of_any_value(
    option: tuple[str, OptionSpec], value: Any
) -> None:
    owner, spec = option
    assert_same(owner, {spec.name: value})


@given(st.sampled_from(OPTIONS), st.sampled_from(["", "x", "_"]), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_catalogue_and_model_say_the_same_of_a_wrong_key(
    option: tuple[str, OptionSpec], added: str, left_out: int
) -> None:
    owner, spec = option
    name = spec.name[:left_out] + added + spec.name[left_out + 1 :]
    assert_same(owner, {name: 1, spec.name: spec.default})


@pytest.mark.parametrize(
    "comparison",
    [
        {"problem": "nosuch"},
        {"algorithms": ("maml", "nosuch")},
        {"options": {"nosuch": {"a": 1}}},
        {"options": {"imaml": {"preset": "x"}}},
        {"options": {"imaml": {"preset": "paper", "prox": -1}}},
        {"options": {"maml": {"preset": 3}}},
        {"shared": {"inner_steps": 0}},
        {"shared": {"nosuch": 0}},
        {"problem": "quadratic", "algorithms": ("maml", "mtnet")},
    ],
)
def test_catalogue_and_engine_say_the_same_of_a_comparison(comparison: dict[str, Any]) -> None:
    asked = Comparison(**comparison)
    sentences = []
    for check in (lambda: check_comparison(asked, CATALOGUE), lambda: planned_runs(asked)):
        try:
            check()
        except OptionError as error:
            sentences.append((error.field, str(error)))
    assert len(sentences) == 2
    assert sentences[0] == sentences[1]


def fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in an interpreter of its own; it prints what heavy was imported."""
    watch = f"import atexit, sys; atexit.register(lambda: print({HEAVY} & sys.modules.keys()))"
    code = f"{watch.replace(str(HEAVY), str(set(HEAVY)))}\n{code}\n"
    return subprocess.run(
        [sys.executable, "-c", f"{code}from metaviz.__main__ import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "compare --set imaml.prox=-1",
        "compare --set imaml.prxo=1",
        "compare --set imalm.prox=1",
        "compare --set iner_lr=1",
        "compare --set inner_lr=x",
        "compare --set sinusoid.hidden=0",
        "compare --set imaml.preset=x",
        "compare --algorithms nosuch",
        "sweep --over inner_lr=0.1,0.2 --set outer_lr=-1",
        "sweep --over iner_lr=0.1,0.2",
        "gradients --set ways=1",
        "benchmark --set maml.inner_steps=0",
        "evaluate run --set split=x",
    ],
)
def test_mistyped_setting_is_refused_before_anything_heavy_is_imported(arguments: str) -> None:
    done = fresh("", *arguments.split())
    assert (done.returncode, done.stdout) == (2, "set()\n")
    assert done.stderr.startswith("metaviz: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", ["--help", "compare --help", "queue --help", "--version"])
def test_help_imports_neither_the_engine_nor_option_models(arguments: str) -> None:
    done = fresh("", *arguments.split())
    assert done.returncode == 0
    assert done.stdout.endswith("\nset()\n")


def test_method_that_is_not_shipped_is_known_to_the_command_line() -> None:
    code = (
        "from metaviz.algorithms.maml import MAMLOptions, maml\n"
        "from metaviz.algorithms.registry import register\n"
        "register(MAMLOptions, id='mine', title='Mine', group='Baselines', summary='Of my own.', "
        "formula='', cost='', citation='')(maml)\n"
    )
    done = fresh(code, "options", "mine")
    assert done.returncode == 0, done.stderr
    assert "mine.inner_lr" in done.stdout
    done = fresh(code, "compare", "--set", "mine.inner_steps=0")
    assert done.stderr.startswith("metaviz: mine.inner_steps = 0 is not valid (Own inner steps K)")
