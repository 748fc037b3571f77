"""What Compare says of groups is what their numbers allow."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from metaviz.config.traits import Traits
from metaviz.runs.analysis.comparison import (
    ComparisonView,
    compared,
    group_difference,
    latest_common,
)
from metaviz.runs.analysis.verdict import Verdict, holm, verdict
from metaviz.runs.model.events import Ended, Evaluated
from metaviz.runs.model.record import Record
from tests.unit.compared import record

VIEW = ComparisonView()


def group(algorithm: str, ends: Sequence[float], **changes: object) -> list[Record]:
    """Return a run for each end of a curve, one a seed."""
    return [record(algorithm, seed, (3.0, 2.0, end), **changes) for seed, end in enumerate(ends)]


def judged(
    algorithm: str, tasks: Sequence[float], *, seed: int = 0, problem: str = "sinusoid"
) -> Record:
    """Return a run that was evaluated once, on these tasks."""
    made = record(algorithm, seed, (3.0,), every=9, state="")
    made.config["problem"] = problem
    values = np.array(tasks, dtype=float)
    mean, half = values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    curves = {"query_loss": np.array([9.0, mean]), "query_loss_ci95": np.array([0.1, half])}
    made.apply(Evaluated(1, len(values), 1, curves, {"query_loss": values}))
    made.apply(Ended(1, "done"))
    return made


def of(*records: Record, measure: str = "eval_query_loss") -> Verdict:
    return verdict(compared(records, replace(VIEW, measure=measure)))


def test_the_lowest_is_named_with_its_interval_and_who_is_not_told_apart() -> None:
    low, near, far = [0.30, 0.36, 0.42], [0.32, 0.38, 0.47], [2.0, 2.1, 2.2]
    found = of(*group("maml", low), *group("reptile", near), *group("joint", far))
    assert found.best == 0
    assert found.sentence == (
        "MAML 0.36 ± 0.15 is lowest of 3; Reptile: no clear difference (95 % CI of the difference "
        "contains 0); Joint training: clearly higher."
    )
    one, other = found.contrasts
    for contrast, values in ((one, near), (other, far)):
        wanted = stats.ttest_ind(low, values, equal_var=False)
        assert contrast.p == pytest.approx(wanted.pvalue)
        interval = wanted.confidence_interval(0.95)
        assert contrast.mean - contrast.half == pytest.approx(interval.low)
        assert contrast.mean + contrast.half == pytest.approx(interval.high)
    assert other.corrected == pytest.approx(2 * other.p)
    assert "Welch’s t-test of the means over seeds" in found.tip
    assert "Holm" in found.tip


def test_accuracies_are_ranked_the_other_way_and_in_per_cent() -> None:
    runs = [*group("maml", [0.5, 0.6]), *group("reptile", [0.9, 0.91])]
    for run in runs:
        run.evaluations[:] = [
            replace(one, curves={**one.curves, "query_accuracy": one.curves["query_loss"]})
            for one in run.evaluations
        ]
    found = of(*runs, measure="eval_query_accuracy")
    assert found.best == 1
    assert found.sentence.startswith("Reptile 90.5 ± 6.4 is highest of 2; MAML: ")


def test_holm_may_take_back_what_one_interval_alone_says() -> None:
    ends = [[1.0, 1.1, 1.2, 1.3], [1.24, 1.34, 1.44, 1.54], [1.24, 1.35, 1.44, 1.53]]
    runs = [one for name, values in zip("abc", ends, strict=True) for one in group(name, values)]
    found = of(*runs)
    assert all(abs(one.mean) > one.half for one in found.contrasts)
    assert all(one.p < 0.05 < one.corrected for one in found.contrasts)
    assert "b, c: no clear difference after Holm’s correction for 2 comparisons" in found.sentence
    alone = of(*runs[:8])
    assert alone.sentence == "a 1.15 ± 0.21 is lowest of 2; b: clearly higher."


def test_holms_correction_is_that_of_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    known = holm([0.01, float("nan"), 0.02])
    assert known[::2] == pytest.approx([0.02, 0.02])
    assert np.isnan(known[1])


def test_groups_with_equal_numbers_are_a_tie() -> None:
    found = of(*group("maml", [0.3, 0.3]), *group("reptile", [0.3, 0.3]))
    assert found.sentence == "MAML 0.3 ± 0 is lowest of 2; Reptile: equal."


def test_runs_of_one_seed_are_held_against_each_other_task_by_task() -> None:
    random = np.random.default_rng(0)
    base = random.lognormal(0, 1, 40)
    shift = random.normal(0.2, 0.1, 40)
    found = of(judged("maml", base), judged("reptile", base + shift))
    (contrast,) = found.contrasts
    wanted = stats.ttest_rel(base, base + shift)
    assert (contrast.basis, contrast.p) == ("tasks", pytest.approx(wanted.pvalue))
    interval = wanted.confidence_interval(0.95)
    assert contrast.mean + contrast.half == pytest.approx(interval.high)
    assert found.sentence.endswith("Reptile: clearly higher. One seed: others may differ.")
    assert "paired t-test over the evaluation tasks of one seed" in found.tip


def test_one_run_beside_several_is_not_tested() -> None:
    found = of(*group("maml", [0.3, 0.4]), *group("reptile", [0.5]))
    assert found.sentence == (
        "MAML 0.35 ± 0.64 is lowest of 2; Reptile: not tested, as there are too few runs."
    )


def test_a_seed_of_its_own_has_tasks_of_its_own() -> None:
    (contrast,) = of(judged("maml", [1, 2, 3]), judged("reptile", [2, 3, 5], seed=1)).contrasts
    assert contrast.standing == "untested"


def test_a_method_all_of_whose_runs_diverged_is_not_ranked() -> None:
    lost = group("joint", [0.1, 0.1], state="diverged")
    found = of(*lost, *group("maml", [0.3, 0.4]), *group("reptile", [0.5, 0.6]))
    assert found.best == 1
    assert "is lowest of 2" in found.sentence
    assert "Joint training is not ranked: diverged, so that no run counts." in found.sentence
    one = [*group("maml", [0.3, 0.4]), record("maml", 2, (3.0, 9.0), state="diverged")]
    assert "Runs that diverged or failed are not counted (MAML)." in of(*one).sentence


def test_a_method_whose_last_numbers_are_none_is_not_ranked() -> None:
    nan = float("nan")
    runs = [*group("maml", [nan, nan]), *group("reptile", [0.5, 0.6]), *group("joint", [nan, 0.1])]
    found = of(*runs)
    assert found.best == 1
    assert found.sentence.startswith("Reptile 0.55 ± 0.64. ")
    assert "MAML is not ranked: " in found.sentence
    assert "Joint training is not ranked: " in found.sentence
    alone = of(judged("maml", [1.0, nan, 2.0]), judged("reptile", [3.0, 4.0, 5.0]))
    assert "MAML is not ranked" in alone.sentence
    assert alone.best == 1


def test_while_runs_train_they_are_compared_at_the_last_step_that_all_have() -> None:
    slow = [record("maml", seed, (3.0, 2.0 - seed / 10), state="") for seed in (0, 1)]
    done = group("reptile", [0.1, 0.2])
    curves = compared([*slow, *done], VIEW)
    assert latest_common(curves) == 2
    found = verdict(curves)
    assert found.at == 2
    assert found.sentence.startswith("At step 2: MAML 1.95 ± 0.64 is lowest of 2; Reptile: ")
    apart = group_difference(curves[1], curves[0], 2)
    assert apart is not None
    assert apart.absolute == pytest.approx(2.0 - 1.95)
    assert curves[1].final(2)[0] == 2.0
    assert curves[1].final()[0] == pytest.approx(0.15)
    assert latest_common(compared(done, VIEW)) is None


def test_where_no_step_is_common_all_are_read_at_the_earliest_end() -> None:
    one = [record("maml", 0, (3.0, 2.0, 1.0), every=2, state="")]
    other = [record("reptile", 0, (3.0, 2.0, 1.0), every=3, state="")]
    assert latest_common(compared([*one, *other], VIEW)) == 2


def test_unequal_numbers_of_steps_are_told() -> None:
    long = [record("reptile", seed, (3.0, 2.0, 1.0, 0.5 + seed / 10)) for seed in (0, 1)]
    found = of(*group("maml", [0.9, 0.95]), *long)
    assert "Trained for different numbers of steps (3, 4)." in found.sentence


def test_runs_of_two_problems_or_of_other_tasks_are_not_ranked() -> None:
    found = of(judged("maml", [1, 2]), judged("reptile", [3, 4], problem="strokes"))
    assert found.best is None
    assert found.sentence == "Not ranked: the runs are of different problems (sinusoid, strokes)."
    found = of(*group("maml", [0.1], shots=5), *group("maml", [0.2], shots=10))
    assert found.best is None
    assert found.sentence == "Not ranked: the runs are evaluated on different tasks (shots)."
    assert of(*group("maml", [0.1], inner_lr=0.1), *group("maml", [0.2], inner_lr=0.2)).best == 0


def test_transductive_and_inductive_methods_are_never_ranked_unflagged() -> None:
    tpn = [replace(run, traits=Traits(transductive=True)) for run in group("tpn", [0.1, 0.2])]
    found = of(*tpn, *group("maml", [0.3, 0.4]))
    assert "Not like for like: TPN sees all query examples of a task at once" in found.sentence
    assert "Not like for like" not in of(*tpn).sentence
    old = group("maml", [0.3, 0.4])
    for run in old:
        run.config["problem_options"] = {"norm": "batch"}
    mixed = of(
        *old,
        *[
            replace(
                r,
                config=r.config | {"problem_options": {"norm": "batch"}},
                traits=Traits(inductive=True),
            )
            for r in group("snail", [0.5, 0.6])
        ],
    )
    assert "MAML sees all query examples" in mixed.sentence


def test_of_what_is_neither_better_nor_worse_there_is_no_verdict() -> None:
    assert of(*group("maml", [0.1]), measure="meta_gradient_norm") == Verdict()
    assert verdict([]) == Verdict()
