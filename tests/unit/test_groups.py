"""Groups of runs: who belongs together, who counts, and intervals against closed forms."""

import numpy as np
import pytest
from scipy import stats

from metaviz.runs.model.marks import Marks
from metaviz.runs.table.baseline import Baseline, difference, finite, read_baseline
from metaviz.runs.table.columns import (
    BY_KEY,
    CellContext,
    Columns,
    cell_context,
    duration_text,
    in_order,
)
from metaviz.runs.table.groups import differing, grouped, spread, welch
from tests.unit.entries import entry

VALUES = np.array([0.31, 0.28, 0.35, 0.30])
OTHERS = np.array([0.41, 0.47, 0.39])


def runs():
    """Four seeds of one setting, one of which diverged, and two of another."""
    made = [entry(f"m{seed}", seed=seed, loss=value) for seed, value in enumerate(VALUES[:3])]
    made.append(entry("m3", seed=3, loss=1e9, state="diverged"))
    made += [entry(f"i{s}", "imaml", s, 0.4 + s, options={"prox": 2.0}) for s in (0, 1)]
    return made


def test_runs_that_differ_in_their_seed_only_are_one_group():
    groups = grouped(runs())
    assert [[m.id for m in g.members] for g in groups] == [["m0", "m1", "m2", "m3"], ["i0", "i1"]]
    assert [g.label for g in groups] == ["MAML", "iMAML"]


def test_a_diverged_run_is_counted_and_named_but_not_averaged():
    group = grouped(runs())[0]
    assert group.spread("loss", "std").mean == pytest.approx(VALUES[:3].mean())
    assert group.count_text("loss") == "3 of 4; 1 diverged"


def test_runs_without_a_result_and_running_ones_are_named():
    made = [entry("a", loss=np.nan), entry("b", seed=1, state="running"), entry("c", seed=2)]
    (group,) = grouped(made)
    assert group.counted("loss").tolist() == [0.5]
    assert group.count_text("loss") == "1 of 3; 1 running, 1 without a result"


def test_an_absent_key_is_a_value_of_its_own():
    made = [
        entry("a", shared={"clip_norm": 1.0}),
        entry("b", seed=1),
        entry("c", seed=2, shared={"clip_norm": 1.0}),
    ]
    groups = grouped(made, ["clip_norm"])
    assert [(g.values, [m.id for m in g.members]) for g in groups] == [
        ((1.0,), ["a", "c"]),
        ((None,), ["b"]),
    ]
    assert [g.label for g in groups] == ["Clip = 1", "Clip = –"]
    assert differing(made) == ["clip_norm"]


def test_labels_name_what_differs_within_an_algorithm():
    made = [entry("a"), entry("b", shared={"inner_lr": 0.4}), entry("c", "imaml")]
    assert [g.label for g in grouped(made)] == ["MAML · α = 0.1", "MAML · α = 0.4", "iMAML"]


def test_one_and_true_are_not_the_same_value():
    made = [entry("a", options={"x": 1}), entry("b", options={"x": True})]
    assert len(grouped(made, ["maml.x"])) == 2
    assert differing(made) == ["maml.x"]


def test_groups_take_a_colour_that_all_members_were_given():
    painted = [entry(str(s), seed=s, marks=Marks(color="#882255")) for s in (0, 1)]
    assert grouped(painted)[0].style.color == "#882255"
    assert grouped(runs())[0].style.color == "#0072B2"


def test_intervals_are_the_textbook_ones():
    std, se, ci95 = (spread(VALUES, name) for name in ("std", "se", "ci95"))
    assert std.half == pytest.approx(VALUES.std(ddof=1))
    assert se.half == pytest.approx(stats.sem(VALUES))
    low, high = stats.t.interval(0.95, 3, VALUES.mean(), stats.sem(VALUES))
    assert (ci95.mean - ci95.half, ci95.mean + ci95.half) == pytest.approx((low, high))


@pytest.mark.parametrize("interval", ["std", "se", "ci95"])
def test_one_run_has_no_interval(interval):
    found = spread(VALUES[:1], interval)
    assert (found.n, found.mean) == (1, VALUES[0])
    assert np.isnan(found.half)


def test_difference_of_groups_has_welchs_interval():
    apart, half = welch(VALUES, OTHERS)
    wanted = stats.ttest_ind(VALUES, OTHERS, equal_var=False).confidence_interval(0.95)
    assert (apart - half, apart + half) == pytest.approx((wanted.low, wanted.high))
    assert np.isnan(welch(VALUES, OTHERS[:1])[1])
    assert welch(np.ones(2), np.ones(3)) == (0.0, 0.0)


def test_lower_loss_and_higher_accuracy_are_better():
    low, high = np.array([0.5]), np.array([1.0])
    assert difference("loss", low, high).verdict == "better"
    assert difference("loss", high, low).verdict == "worse"
    assert difference("accuracy", high, low).verdict == "better"
    assert difference("accuracy", low, high).verdict == "worse"
    assert difference("loss", low, low).verdict == "same"
    told = difference("loss", low, high)
    assert told.text == "▼ −0.5 (−50.0 %)"
    assert told.tip == "Better: lower loss is better."
    assert difference("loss", finite([np.nan]), high) is None


def test_a_baseline_is_written_down_and_read_back():
    made = runs()
    group = grouped(made)[0]
    for chosen in (Baseline("m1"), Baseline(keys=group.keys, values=group.values)):
        assert read_baseline(chosen.to_text()) == chosen
    by_group = Baseline(keys=group.keys, values=group.values)
    assert by_group.results(made, "loss").tolist() == VALUES[:3].tolist()
    assert Baseline("m1").results(made, "loss").tolist() == [VALUES[1]]
    assert Baseline("gone").results(made, "loss").size == 0


@pytest.mark.parametrize("text", ["", "{", "3", "[]", '{"run": 3, "keys": [], "values": []}'])
def test_a_baseline_that_makes_no_sense_is_none(text):
    assert not read_baseline(text)


def test_a_table_tells_the_baseline_and_the_differences():
    made = runs()
    seen = cell_context(made, baseline=Baseline("m0"))
    delta = seen.delta_column()
    assert seen.text(delta, made[0]) == "baseline"
    assert seen.text(delta, made[1]) == "▼ −0.03 (−9.7 %)"
    assert cell_context(made, baseline=Baseline("gone")).text(delta, made[1]) == ""


def test_headings_of_groups_name_the_interval():
    loss = BY_KEY["loss"]
    for name, title in (("std", "± SD"), ("se", "± SE"), ("ci95", "± 95 % CI")):
        assert CellContext(name).title(loss, grouped=True) == f"Query loss {title}"
        assert title.removeprefix("± ") in CellContext(name).tip(loss, grouped=True)
    assert CellContext("std").title(loss, grouped=False) == "Query loss"


def test_cells_of_groups():
    group = grouped(runs())[0]
    seen, columns = CellContext("std"), Columns()
    half = VALUES[:3].std(ddof=1)
    assert seen.group_text(BY_KEY["loss"], group) == f"{VALUES[:3].mean():.3f} ± {half:.3f}"
    assert seen.group_text(BY_KEY["seed"], group) == "0–3"
    assert seen.group_text(BY_KEY["state"], group) == "3 of 4; 1 diverged"
    assert seen.group_text(columns.column("inner_lr"), group) == "0.1"
    assert seen.group_text(columns.column("imaml.prox"), group) == "–"


@pytest.mark.parametrize("descending", [False, True])
def test_absent_values_sort_last_in_both_directions(descending):
    values = [None, 2.0, 10.0, None, 1.0]
    known = [2, 1, 4] if descending else [4, 1, 2]
    assert in_order(values, descending=descending) == [*known, 0, 3]
    assert in_order(["b", 3, None], descending=False) == [1, 0, 2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.23, "4.2 s"), (187, "3:07 min"), (3723, "1:02:03 h"), (float("nan"), "")],
)
def test_durations_are_written_as_a_person_would(seconds, text):
    assert duration_text(seconds) == text


def test_a_repetition_is_counted_once_and_named():
    made = [*runs()[:3], entry("copy", seed=1, loss=VALUES[1])]
    (group,) = grouped(made)
    assert group.repeats == {"copy"}
    assert group.spread("loss", "ci95") == grouped(runs()[:3])[0].spread("loss", "ci95")
    assert group.count_text("loss") == "3 of 4; 1 repeated"
    other = entry("other", seed=1, loss=VALUES[1], shared={"inner_lr": 0.7})
    assert not grouped([*runs()[:3], other], ["algorithm"])[0].repeats


def test_a_difference_within_its_interval_is_not_told_apart():
    found = difference("loss", VALUES, VALUES + 0.001)
    assert found.verdict == "no clear difference"
    assert "contains 0" in found.tip
    assert difference("loss", VALUES[:1], VALUES[:1] + 1).verdict == "better"


def test_an_amended_run_has_the_settings_that_it_ended_with_and_a_group_of_its_own():
    told = {"step": 3, "shared": {"inner_lr": 0.05}, "options": {}, "skip_step": 0, "skip_task": 0}
    amended = entry("b", seed=1)
    amended.config["amendments"] = [told]
    assert amended.values["inner_lr"] == 0.05
    assert amended.values["amendments"] == "after step 3: inner_lr = 0.05"
    assert [len(g.members) for g in grouped([entry("a"), amended])] == [1, 1]


def test_groups_that_differ_in_late_keys_alone_have_names_of_their_own() -> None:
    usual = {"eval_tasks": 4, "eval_every": 5, "meta_batch": 2}
    other = {"eval_tasks": 8, "eval_every": 10, "meta_batch": 4}
    made = [
        entry("a", shared=usual, options={"scale": 1.0}),
        entry("b", shared=usual, options={"scale": 10.0}),
        entry("c", shared=other, options={"scale": 1.0}),
    ]
    labels = [group.label for group in grouped(made)]
    assert len(set(labels)) == 3
    assert all("scale" in label for label in labels)


def test_backbones_of_their_own_seeds_do_not_part_a_group() -> None:
    entries = [
        entry(
            seed=seed,
            problem="features",
            problem_options={"pretrained": f"classifier-s{seed}-0", "l2": True},
        )
        for seed in range(3)
    ]
    assert all("features.pretrained" in one.values for one in entries)
    assert [len(group.members) for group in grouped(entries)] == [3]
