"""What the Playground shows: the plane, the dual plane and the loss, as charts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path as FilePath

import numpy as np

from metaviz.charts.contours import contours
from metaviz.charts.values import Axis, Lines, Mark, Panels, Scatter, Series
from metaviz.config.options import OptionError
from metaviz.files.foreign import ForeignError
from metaviz.runs.model.record import Record
from metaviz.theory.errors import NoAnswerError
from metaviz.theory.mirror_maps import (
    Entropy,
    Euclid,
    Matrix,
    MirrorMap,
    Quadratic,
    Simplex,
    divergence,
)
from metaviz.theory.playground import (
    HESSIAN,
    LINEAR,
    START,
    LogisticLoss,
    Loss2D,
    Path,
    QuadraticLoss,
    ball,
    ellipse,
    ellipse_axes,
    ellipse_matrix,
    path,
    rate_for,
    smoothness,
)
from metaviz.theory.prior import implicit_prior
from metaviz.theory.problem_file import read_quadratic

Point = tuple[float, float]
View = tuple[float, float, float, float]
_GRID, _LEVELS = 72, 12
_ELLIPSE, _SHORTEST = 0.35, 0.15
_ROLES = {"euclid": "method-0", "quadratic": "method-1"}
_MIRROR_ROLE = "method-2"
_LEAST_RATE, _MOST_RATE = 1e-4, 10.0
HANDLE = "handle "
"""What the names of series begin with that a person can drag."""
POINT = "point "
"""What the names of handles begin with that are points of a logistic loss."""
_PRIOR = "method-3"


@dataclass(frozen=True)
class Playground:
    """Everything that a person sets. `lengths` and `angle` are those of the ellipse of P.

    `shown` are the ids of the maps whose paths are drawn; the mirror map stands for the third.
    `focus` is the one whose ball and dual plane are shown, at step `step`. `view` is the visible
    square: left, right, low, high.
    """

    loss: Loss2D = field(default_factory=QuadraticLoss)
    start: Point = START
    rate: float = 0.1
    steps: int = 10
    lengths: Point = (1.1, 0.8)
    angle: float = 0.5
    mirror: MirrorMap = field(default_factory=Entropy)
    shown: tuple[str, ...] = ("euclid", "quadratic", "mirror")
    focus: str = "euclid"
    step: int = 0
    prior: bool = False
    view: View = (-0.6, 2.6, -0.6, 2.6)

    @property
    def maps(self) -> dict[str, MirrorMap]:
        """The maps by the names of `shown`."""
        matrix = ellipse_matrix(self.lengths, self.angle)
        return {"euclid": Euclid(), "quadratic": Quadratic(matrix), "mirror": self.mirror}

    @property
    def focused(self) -> MirrorMap:
        """The map whose ball is drawn."""
        return self.maps[self.focus]

    def paths(self) -> dict[str, Path]:
        """Return the paths that are shown, by name, with that of the focus."""
        names = dict.fromkeys((*self.shown, self.focus))
        start = np.array(self.start)
        return {
            name: path(self.loss, self.maps[name], start, self.rate, self.steps) for name in names
        }


def dragged(state: Playground, name: str, x: float, y: float) -> Playground:
    """Return the state after a handle was dragged to a point of the plane."""
    if name == "start":
        project = state.focused.project if state.focused.positive else np.asarray
        a, b = project(np.array([x, y])).tolist()
        return replace(state, start=(a, b))
    if name == "minimiser":
        return replace(state, loss=state.loss.moved_to((x, y)))
    if name.startswith(POINT) and isinstance(state.loss, LogisticLoss):
        number = int(name.removeprefix(POINT)) - 1
        return replace(state, loss=state.loss.with_point(number, (x, y)))
    if name == "ball":
        return _with_ball(state, np.array([x, y]))
    apart = np.array([x, y]) - np.array(state.start)
    if name == "axis 1":
        length = max(float(np.linalg.norm(apart)) / _ELLIPSE, _SHORTEST)
        angle = float(np.arctan2(apart[1], apart[0]))
        return replace(state, lengths=(length, state.lengths[1]), angle=angle)
    across = np.array([-np.sin(state.angle), np.cos(state.angle)])
    length = max(abs(float(apart @ across)) / _ELLIPSE, _SHORTEST)
    return replace(state, lengths=(state.lengths[0], length))


def preset(name: str, state: Playground, inner: "InnerProblem | None" = None) -> Playground:
    """Return the state of a preset: `same`, `simplex`, `inner` or `prior`."""
    start = Playground(view=state.view)
    if name == "same":
        lengths, angle = ellipse_axes(_inverse(HESSIAN))
        return replace(
            start, loss=QuadraticLoss(), rate=1.0, steps=3, lengths=lengths, angle=angle,
            shown=("euclid", "quadratic"), focus="quadratic",
        )  # fmt: skip
    if name == "simplex":
        return replace(
            start, mirror=Simplex(), rate=0.4, shown=("mirror",), focus="mirror", steps=20,
            start=(0.85, 0.15), loss=QuadraticLoss((0.2, 0.6)), view=(-0.2, 1.2, -0.2, 1.2),
        )  # fmt: skip
    inner = inner or InnerProblem()
    found = replace(
        start, loss=inner.loss, start=inner.start, rate=inner.rate, steps=inner.steps,
        shown=("euclid",), step=0, prior=name == "prior",
    )  # fmt: skip
    return replace(found, view=fitted_view(found))


@dataclass(frozen=True)
class InnerProblem:
    """The inner loop of a run of two weights: loss, start, step size and number of steps."""

    loss: QuadraticLoss = field(default_factory=lambda: _loss_of(HESSIAN, LINEAR))
    start: Point = START
    rate: float = 0.1
    steps: int = 3


@dataclass(frozen=True)
class RunProblem:
    """The inner loop of a run that has one of two weights."""

    id: str
    label: str
    problem: InnerProblem


def inner_problems(records: Sequence[Record]) -> list[RunProblem]:
    """Return the inner loops of runs of the quadratic problem with two weights."""
    found = []
    for record in records:
        shared = record.config.get("shared", {})
        problem = _quadratic(record)
        if problem is not None and record.traits.has_inner_loop:
            rate, steps = float(shared.get("inner_lr") or 0.1), int(shared.get("inner_steps") or 1)
            loop = replace(problem, rate=rate, steps=max(1, steps))
            found.append(RunProblem(record.id, record.label, loop))
    return found


def _quadratic(record: Record) -> InnerProblem | None:
    """Return the matrices of a run; those of a file are read where it still is there."""
    if record.problem != "quadratic":
        return None
    path = record.config.get("problem_options", {}).get("file", "")
    if not path:
        return InnerProblem()
    try:
        hessian, linear, start = read_quadratic(FilePath(path))
        (a, b), (c, d) = hessian.tolist()
        from_x, from_y = start.tolist()
        loss = _loss_of(((a, b), (c, d)), linear.tolist())
    except (ForeignError, OptionError, ValueError, np.linalg.LinAlgError):
        return None
    return InnerProblem(loss, (from_x, from_y))


def _loss_of(hessian: Matrix, linear: Sequence[float]) -> QuadraticLoss:
    x, y = np.linalg.solve(np.array(hessian), np.array(linear)).tolist()
    return QuadraticLoss((x, y), hessian)


def fitted_view(state: Playground) -> View:
    """Return a square around start, minimiser and path."""
    points = np.concatenate([[state.start, state.loss.centre], *_points(state)])
    middle, reach = (
        (points.max(0) + points.min(0)) / 2,
        max(0.6, 0.7 * float(np.ptp(points, 0).max())),
    )
    (left, low), (right, high) = (middle - reach).tolist(), (middle + reach).tolist()
    return left, right, low, high


def _points(state: Playground) -> list[np.ndarray]:
    return [one.points for one in state.paths().values()]


def primal_chart(state: Playground, paths: dict[str, Path], shape: float = 1.0) -> Scatter:
    """Show the loss, the paths, the ellipse of P, the Bregman ball and the handles.

    `shape` is the plot's width over its height: more is seen along its longer side, so that
    circles are round.
    """
    left, right, low, high = view = _widened(state.view, shape)
    series = [_contours(state.loss, view)]
    centre = np.array(state.start)
    maps = state.maps
    if "quadratic" in paths:
        around = ellipse(ellipse_matrix(state.lengths, state.angle), centre, _ELLIPSE)
        series.append(_line("ellipse", around, "ellipse of P", _ROLES["quadratic"]))
    if state.prior:
        series += _prior(state)
    for name, found in paths.items():
        label = maps[name].title + (f" ({found.stopped})" if found.stopped else "")
        role = _ROLES.get(name, _MIRROR_ROLE)
        series.append(_line(f"path {name}", found.points, label, role, dots=5.0))
    series += _touching(state, paths[state.focus])
    series += [_handle(name, at, state.loss) for name, at in handles(state, paths).items()]
    point = paths[state.focus].points[min(state.step, len(paths[state.focus].points) - 1)]
    return Scatter(
        id="playground",
        title="The plane",
        x=Axis("p₁", limits=(left, right)),
        y=Axis("p₂", limits=(low, high)),
        series=tuple(series),
        spoken=f"After {state.step} steps {maps[state.focus].title} is at "
        f"({point[0]:.4g}, {point[1]:.4g}).",
    )


def handles(state: Playground, paths: dict[str, Path]) -> dict[str, Point]:
    """Return where the handles are that a person can drag, by name."""
    cos, sin = np.cos(state.angle), np.sin(state.angle)
    x, y = state.start
    found: dict[str, Point] = {"start": (x, y), "minimiser": state.loss.centre}
    if "quadratic" in paths:
        long, short = (_ELLIPSE * length for length in state.lengths)
        found["axis 1"] = float(x + long * cos), float(y + long * sin)
        found["axis 2"] = float(x - short * sin), float(y + short * cos)
    points = paths[state.focus].points
    if state.step == 0 and len(points) > 1:
        a, b = points[1].tolist()
        found["ball"] = a, b
    if isinstance(state.loss, LogisticLoss):
        found |= {f"{POINT}{at}": place for at, place in enumerate(state.loss.places, 1)}
    return found


def dual_chart(state: Playground, found: Path) -> Scatter:
    """Show the path of the dual points of the focused map, whose steps are -alpha grad f."""
    at = found.duals[min(state.step, len(found.duals) - 1)]
    role = _ROLES.get(state.focus, _MIRROR_ROLE)
    now = Series("now", at[:1], at[1:], role="accent", width=0, dots=11)
    return Scatter(
        id="dual",
        title=f"Dual plane of {state.focused.title}: z = ∇h(p), steps −α∇f",
        x=Axis("z₁ = ∂h/∂p₁"),
        y=Axis("z₂ = ∂h/∂p₂"),
        series=(_line("dual path", found.duals, "", role, dots=5.0), now),
    )


def loss_chart(state: Playground, paths: dict[str, Path]) -> Lines:
    """Show the loss and the length of its gradient after every step."""
    series: list[Series] = []
    for name, found in paths.items():
        role, k = _ROLES.get(name, _MIRROR_ROLE), np.arange(float(len(found.points)))
        lengths = np.linalg.norm(state.loss.gradient(found.points), axis=-1)
        labels = ("f", "|∇f|") if not series else ("", "")
        series.append(
            Series(f"f {name}", k, state.loss.value(found.points), labels[0], role, dots=4)
        )
        series.append(Series(f"slope {name}", k, lengths, labels[1], role, alpha=0.6))
    mark = Mark("step", state.step, role="accent", dash="solid")
    return Lines(
        id="losses",
        title="Loss and gradient after k steps",
        x=Axis("step k", whole=True, limits=(-0.2, state.steps + 0.2)),
        y=Axis("f, |∇f|", log=True),
        series=tuple(series),
        marks=(mark,),
    )


def playground_chart(state: Playground) -> Panels:
    """Return the three charts beside each other, for a file."""
    paths = state.paths()
    charts = (primal_chart(state, paths), dual_chart(state, paths[state.focus]))
    return Panels(id="playground", charts=(*charts, loss_chart(state, paths)), columns=3)


def told(state: Playground, paths: dict[str, Path]) -> str:
    """Say where the focused method stands, and whether its step size is safe."""
    found, chosen = paths[state.focus], state.focused
    step = min(state.step, len(found.points) - 1)
    point = found.points[step]
    words = [f"{chosen.title}, k = {step}: p = ({point[0]:.4g}, {point[1]:.4g}), "
             f"f = {float(state.loss.value(point)):.4g}."]  # fmt: skip
    if step + 1 < len(found.points):
        radius = float(divergence(chosen, found.points[step + 1], point))
        words.append(
            f"The next step ends where the line ⟨∇f, p⟩ = const last touches the ball "
            f"D_h(p, p_k) ≤ {radius:.3g}."
        )
    elif found.stopped:
        words.append(f"The path ends: {found.stopped}.")
    if isinstance(state.loss, QuadraticLoss) and state.focus != "mirror":
        matrix = chosen.matrix if isinstance(chosen, Quadratic) else ((1.0, 0.0), (0.0, 1.0))
        most = smoothness(state.loss, matrix)
        verdict = "holds" if state.rate * most <= 1 + 1e-12 else "does not hold here"
        words.append(f"Descent for α ≤ 1/L_h = {1 / most:.3g}: {verdict}.")
    return " ".join(words)


def paths_table(state: Playground) -> list[tuple[object, ...]]:
    """Return a header and a row for each point of each path."""
    rows: list[tuple[object, ...]] = [("map", "k", "x", "y", "dual_x", "dual_y", "loss", "slope")]
    for name, found in state.paths().items():
        values = state.loss.value(found.points)
        slopes = np.linalg.norm(state.loss.gradient(found.points), axis=-1)
        for k, point in enumerate(found.points):
            numbers = (*point, *found.duals[k], values[k], slopes[k])
            rows.append((state.maps[name].id, k, *(float(one) for one in numbers)))
    return rows


def _with_ball(state: Playground, to: np.ndarray) -> Playground:
    """Choose the step size whose first step reaches the edge of a ball through `to`."""
    chosen = state.focused
    start = chosen.project(np.array(state.start))
    radius = float(divergence(chosen, chosen.project(to), start))
    return replace(
        state, rate=max(rate_for(state.loss, chosen, start, radius, _MOST_RATE), _LEAST_RATE)
    )


def _touching(state: Playground, found: Path) -> list[Series]:
    """Return the ball around the present point and the line that touches it at the next one."""
    if state.step + 1 >= len(found.points):
        return []
    point, after = found.points[state.step], found.points[state.step + 1]
    radius = float(divergence(state.focused, after, point))
    gradient = state.loss.gradient(point)
    length = float(np.linalg.norm(gradient))
    edge = ball(state.focused, point, radius)
    series = [_line("ball", edge, "ball D_h ≤ r", "muted")]
    if length > 0:
        along = np.array([-gradient[1], gradient[0]]) / length
        reach = 0.15 * (state.view[1] - state.view[0])
        ends = np.stack([after - reach * along, after + reach * along])
        series.append(_line("tangent", ends, "⟨∇f, p⟩ = const", "foreground"))
    return series


def _prior(state: Playground) -> list[Series]:
    """Return the ellipse of one standard deviation of the prior that k steps stand for."""
    if not isinstance(state.loss, QuadraticLoss):
        return []
    try:
        found = implicit_prior(np.array(state.loss.hessian), state.rate, max(1, state.step))
    except NoAnswerError:
        return []
    if not (found.precisions > 0).all():
        return []
    (a, b), (c, d) = np.linalg.inv(found.precision).tolist()
    around = ellipse(((a, b), (c, d)), np.array(state.start))
    return [_line("prior", around, f"prior of {max(1, state.step)} steps", _PRIOR)]


def _widened(view: View, shape: float) -> View:
    left, right, low, high = view
    aside = (right - left) / 2 * (max(shape, 1.0) - 1)
    above = (high - low) / 2 * (max(1 / shape, 1.0) - 1)
    return left - aside, right + aside, low - above, high + above


@lru_cache(maxsize=4)
def _contours(loss: Loss2D, view: View) -> Series:
    left, right, low, high = view
    u, v = np.linspace(left, right, _GRID), np.linspace(low, high, _GRID)
    heights = loss.value(np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1))
    floor, top = float(heights.min()), float(heights.max())
    levels = floor + (top - floor) * ((np.arange(_LEVELS) + 0.5) / _LEVELS) ** 2
    x, y = contours(u, v, heights, levels)
    return Series("contours", x, y, role="muted", alpha=0.45)


def _handle(name: str, at: Point, loss: Loss2D) -> Series:
    x, y = at
    if name.startswith(POINT) and isinstance(loss, LogisticLoss):
        number = int(name.removeprefix(POINT)) - 1
        role, label = f"method-{4 + loss.y[number]}", ""
        if number == loss.y.index(loss.y[number]):
            label = f"points of class {loss.y[number]}"
        one = np.array([x]), np.array([y])
        return Series(HANDLE + name, *one, label, role, width=0, dots=9)
    role = {"start": "foreground", "minimiser": "accent", "ball": "foreground"}.get(
        name, _ROLES["quadratic"]
    )
    return Series(HANDLE + name, np.array([x]), np.array([y]), role=role, width=0, dots=13)


def _line(name: str, points: np.ndarray, label: str, role: str, dots: float = 0.0) -> Series:
    x, y = points.T
    return Series(name, x, y, label, role, width=2.0 if dots else 1.5, dots=dots)


def _inverse(matrix: tuple[Point, Point]) -> tuple[Point, Point]:
    (a, b), (c, d) = np.linalg.inv(np.array(matrix)).tolist()
    return ((a, b), (c, d))
