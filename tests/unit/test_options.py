"""Option models, configurations and `--set`."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaviz.config.options import OptionError, Options, checked, option, specs
from metaviz.config.overrides import parse_value, place_settings
from metaviz.config.run_config import (
    Comparison,
    RunConfig,
    Shared,
    parse_seeds,
    read_comparison,
    to_toml,
)
from metaviz.training.engine import build_catalogue, planned_runs
from metaviz.training.setting import settle


class Example(Options):
    """One option of each kind."""

    count: int = option(3, "Count", "How many.", ge=1, le=10_000_000)
    rate: float = option(0.5, "Rate", "How fast.", gt=0)
    limit: float | None = option(None, "Limit", "How far.", ge=-1.5, le=2)
    on: bool = option(False, "On", "Whether.")
    name: str = option("", "Name", "Which.")
    kind: Literal["a", "b"] = option("a", "Kind", "What.")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "x.count = 0 is not valid (Count): use a whole number at least 1 and at "
         "most 10000000."),
        ({"count": True}, "x.count = True is not valid (Count): use a whole number at least 1"),
        ({"count": "3"}, "x.count = '3' is not valid (Count): "),
        ({"count": 1.5}, "x.count = 1.5 is not valid (Count): "),
        ({"count": None}, "x.count = nothing is not valid (Count): "),
        ({"rate": 0}, "x.rate = 0 is not valid (Rate): use a number above 0."),
        ({"rate": float("nan")}, "x.rate = nan is not valid (Rate): use a number above 0."),
        ({"rate": float("inf")}, "x.rate = inf is not valid (Rate): use a number above 0."),
        ({"limit": True}, "x.limit = True is not valid (Limit): use a number at least -1.5 and at "
         "most 2."),
        ({"on": "perhaps"}, "x.on = 'perhaps' is not valid (On): use true or false."),
        ({"name": 3}, "x.name = 3 is not valid (Name): use text."),
        ({"kind": "c"}, "x.kind = 'c' is not valid (Kind): use one of a, b."),
        ({"other": 1}, "There is no option x.other; known: x.count, x.rate, x.limit, x.on, "),
    ],
)  # fmt: skip
def test_checked_names_value_and_what_is_right(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        checked(Example, values, prefix="x.")
    assert str(caught.value).startswith(sentence)
    assert caught.value.field == f"x.{next(iter(values))}"


def test_nothing_may_be_written_as_empty_text() -> None:
    assert checked(Example, {"limit": ""}).limit is None
    assert checked(Example, {"name": None}).name == ""
    assert checked(Example, {"rate": 2, "count": 2.0}) == Example(rate=2.0, count=2)


def test_specs_describe_bounds_and_choices() -> None:
    described = {spec.name: spec for spec in specs(Example)}
    assert [spec.kind for spec in described.values()] == [
        *("int", "float", "float", "bool", "text", "choice"),
    ]
    assert (described["rate"].minimum, described["rate"].exclusive_minimum) == (0, True)
    assert described["limit"].optional
    assert described["kind"].choices == ("a", "b")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", (0,)),
        ("0-3", (0, 1, 2, 3)),
        (" 5, 1-2 ,1", (5, 1, 2)),
        ("7-7", (7,)),
        ("0-999", tuple(range(1000))),
    ],
)
def test_parse_seeds_reads_lists_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@given(st.text())
def test_parse_seeds_returns_seeds_or_one_sentence(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except OptionError as error:
        assert repr(text) in str(error)
    else:
        assert seeds
        assert all(seed >= 0 for seed in seeds)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-3", -3), ("3.0", 3.0), ("1e-3", 0.001), ("True", True), ("FALSE", False),
     ("", None), (" ", None), (" adam ", "adam"), ("a=b", "a=b")],
)  # fmt: skip
def test_parse_value_reads_plain_values(text: str, value: object) -> None:
    found = parse_value(text)
    assert (found, type(found)) == (value, type(value))


def test_place_settings_puts_keys_where_they_belong() -> None:
    settings = ["inner_lr=0.5", "imaml.prox=3", "quadratic.file=3", "quadratic.spread=1", "ways=4"]
    start = {"problem": "quadratic", "shared": {"ways": 7, "shots": 2}}
    placed = place_settings(settings, start, build_catalogue())
    assert placed["shared"] == {"inner_lr": 0.5, "ways": 4, "shots": 2}
    assert placed["options"] == {"imaml": {"prox": 3}}
    assert placed["problem_options"] == {"file": "3", "spread": 1}
    assert start == {"problem": "quadratic", "shared": {"ways": 7, "shots": 2}}


def test_comparison_round_trips_through_toml(tmp_path: Path) -> None:
    comparison = Comparison(
        problem="omniglot",
        algorithms=("imaml", "maml", "imaml"),
        seeds=(3, 1, 3),
        steps=7,
        shared={"clip_norm": None, "inner_lr": 0.1, "outer_optimizer": "sgd"},
        options={"imaml": {"inner_steps": None, "learn_prox": True}},
        problem_options={"path": 'ü "quoted"\n', "rotations": False},
    )
    path = tmp_path / "c.toml"
    path.write_text(to_toml(comparison), encoding="utf-8")
    again = read_comparison(path)
    assert (again.algorithms, again.seeds) == (("imaml", "maml"), (3, 1))
    assert planned_runs(again)[0].shared == planned_runs(comparison)[0].shared
    assert again.problem_options == comparison.problem_options
    assert to_toml(again) == to_toml(comparison)


def test_value_emptied_on_purpose_stays_empty_after_a_round_trip(tmp_path: Path) -> None:
    comparison = Comparison(algorithms=("imaml",), options={"imaml": {"inner_steps": None}})
    path = tmp_path / "c.toml"
    path.write_text(to_toml(comparison), encoding="utf-8")
    first, second = (settle(planned_runs(c)[0]).config for c in (comparison, read_comparison(path)))
    assert first == second
    assert 'inner_steps = ""' in path.read_text(encoding="utf-8")


def test_settled_run_names_every_option() -> None:
    run = planned_runs(Comparison(algorithms=("imaml",)))[0]
    config = settle(run).config
    assert isinstance(config, RunConfig)
    assert {"prox", "cg_steps", "operator", "inner_lr"} <= set(config.options)
    assert {"sign", "noise", "hidden"} <= set(config.problem_options)
    assert settle(config).config == config


def test_wrong_option_of_an_algorithm_that_is_not_ticked_is_refused() -> None:
    with pytest.raises(OptionError, match=r"imaml\.prox = -1 is not valid"):
        planned_runs(Comparison(options={"imaml": {"prox": -1}}))


def test_every_default_is_itself_valid() -> None:
    catalogue = build_catalogue()
    for problem in catalogue.problems:
        assert checked(Shared, dict(problem.shared))
        known = {spec.name for spec in catalogue.shared}
        assert set(problem.shared) <= known
        assert set(problem.hidden) <= known
    for entry in catalogue.algorithms:
        for name, values in entry.defaults.items():
            assert catalogue.problem(name) is not None
            assert set(values) <= {spec.name for spec in entry.options}
