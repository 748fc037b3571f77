"""`metaviz theory`: the numbers of the Theory page for problems of a file, in float64."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put

_MOST_SHOWN = 12

theory_app = typer.Typer(help="Closed forms of the theory of meta-learning, for your own numbers.")


@theory_app.command("optimality")
def theory_optimality(
    problem_file: Annotated[
        Path,
        typer.Option(
            help="TOML file of tables (tasks, x, y), features (x, d), outcomes (y), "
            "loss = squared or logistic, rate, omega (d) and radii."
        ),
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Bound how far a point of linear meta-learning is from the global optimum.

    --json: theta_star, gap, epsilon, gradient, w_norm, radii and, in their order, the lists
    approximation (the infimum) and bound (R epsilon + w_norm * approximation). Also identity_error,
    inner_product <w, u>, dropped, starts_agree, shared_marginal, and corollary where it applies.
    """
    from metaviz.theory.assumptions import assumptions
    from metaviz.theory.optimality import optimality
    from metaviz.theory.problem_file import read_optimality

    risk, omega, radii = read_optimality(problem_file)
    with _told():
        found = optimality(risk, omega, radii)
        epsilon = found.epsilon
    numbers: dict[str, Any] = {
        "theta_star": found.theta_star,
        "gap": found.gap,
        "epsilon": epsilon,
        "gradient": found.gradient,
        "w_norm": found.w_norm,
        "radii": radii,
        "approximation": found.approximation,
        "bound": found.bound,
        "identity_error": found.identity_error,
        "inner_product": found.inner_product,
        "dropped": found.dropped,
        "starts_agree": found.agree,
        "shared_marginal": risk.shared,
    }
    if found.corollary is not None:
        numbers["corollary"] = asdict(found.corollary)
    answer = _plain(numbers)
    if as_json:
        put(json.dumps(answer, allow_nan=False))
        return
    from metaviz.cli.tables import console, table

    rows = [
        (f"{radius:g}", f"{radius * found.epsilon:.6g}", f"{near:.6g}", f"{bound:.6g}")
        for radius, near, bound in zip(radii, found.approximation, found.bound, strict=True)
    ]
    paper = console()
    title = "Theorem 1: gap <= R eps + |w| inf"
    columns = ("R", "R eps", "inf", "bound")
    paper.print(table(columns, rows, title, right=range(4)))
    paper.print(
        f"gap = {found.gap:.6g}, eps = {found.epsilon:.6g}, |w| = {found.w_norm:.6g}, "
        f"theta* = {_listed(found.theta_star)}."
    )
    for assumption in assumptions(risk, found):
        paper.print(assumption.text)


@theory_app.command("expansion")
def theory_expansion(
    problem_file: Annotated[
        Path,
        typer.Option(
            help="TOML file of hessians (k, d, d) and linear (k, d) of the losses "
            "p'A p/2 - b'p, start (d) and rates."
        ),
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Expand the meta-gradients of MAML, FOMAML and Reptile in the step size.

    --json: rates and, for each of maml, fomaml and reptile, lists in their order: expected (the
    exact mean over all k! orderings; Reptile's gradient is the sum of its k), c0 (1, or k of
    Reptile), c1 (fitted with that c0), remainder (|E g - c0 a + rate c1 b| / rate^2 with the
    expansion's c1, which is predicted_c1), and joint_c0, joint_c1 of fitting both; null is what no
    number fits: c1 where AvgGradInner is zero, the joint ones where it has AvgGrad's direction.
    """
    from metaviz.theory.expansion import METHODS, averages, coefficients, expected_gradients, fit
    from metaviz.theory.problem_file import read_expansion

    losses, start, rates = read_expansion(problem_file)
    count = len(losses.linear)
    with _told():
        both = averages(losses, start)
    answer: dict[str, Any] = {
        "rates": rates.tolist(),
        "avg_grad": both[0].tolist(),
        "avg_grad_inner": both[1].tolist(),
        **{method: {} for method in METHODS},
    }
    fits = []
    for rate in rates.tolist():
        with _told():
            expected = expected_gradients(losses, start, rate)
            one = {name: fit(name, count, rate, expected[name], both) for name in METHODS}
        fits.append(one)
        for method in METHODS:
            lists = answer[method]
            lists.setdefault("expected", []).append(expected[method].tolist())
            for key in ("c0", "remainder"):
                lists.setdefault(key, []).append(getattr(one[method], key))
            for key in ("c1", "joint_c0", "joint_c1"):
                fitted = getattr(one[method], key)
                lists.setdefault(key, []).append(fitted if math.isfinite(fitted) else None)
    for method in METHODS:
        answer[method]["predicted_c1"] = coefficients(method, count)[1]
    answer = _plain(answer)
    if as_json:
        put(json.dumps(answer, allow_nan=False))
        return
    from metaviz.cli.tables import console, table

    rows = [
        (
            f"{rate:g}",
            method,
            *(f"{value:.6g}" for value in (one.c1, coefficients(method, count)[1])),
            f"{one.remainder:.4g}",
            f"{one.share:.2%}",
        )
        for rate, found in zip(rates.tolist(), fits, strict=True)
        for method, one in found.items()
    ]
    columns = ("rate", "method", "c1", "predicted", "remainder", "explained")
    title = f"E g = c0 AvgGrad - rate c1 AvgGradInner, over all {count}! orderings"
    console().print(table(columns, rows, title, right=(0, 2, 3, 4, 5)))


@theory_app.command("prior")
def theory_prior(
    problem_file: Annotated[
        Path, typer.Option(help="TOML file of hessian (d, d), rate and steps.")
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Give the Gaussian prior that a few gradient steps stand for.

    --json: precision (d, d) and effective_dimension; also eigenvalues of the Hessian and
    is_prior, false where a precision is negative.
    """
    from metaviz.theory.prior import implicit_prior
    from metaviz.theory.problem_file import read_prior

    hessian, rate, steps = read_prior(problem_file)
    with _told():
        found = implicit_prior(hessian, rate, steps)
        numbers = {
            "precision": found.precision,
            "effective_dimension": found.effective_dimension,
            "eigenvalues": found.eigenvalues,
            "is_prior": found.is_prior,
        }
    answer = _plain(numbers)
    if as_json:
        put(json.dumps(answer, allow_nan=False))
        return
    from metaviz.cli.tables import console, table

    learnt = 1 - (1 - rate * found.eigenvalues) ** steps
    rows = [
        (f"{value:.6g}", f"{precision:.6g}", f"{share:.2%}")
        for value, precision, share in zip(found.eigenvalues, found.precisions, learnt, strict=True)
    ]
    paper = console()
    title = f"Prior of {steps} steps of size {rate:g}, by direction"
    paper.print(table(("Hessian", "precision", "learnt"), rows, title, right=range(3)))
    paper.print(f"Effective dimension: {found.effective_dimension:.6g} of {len(hessian)}.")
    if not found.is_prior:
        paper.print("A precision is below 0: these steps stand for no Gaussian prior.")


@contextmanager
def _told() -> Iterator[None]:
    """Turn what numpy says of numbers that grow beyond all bounds into NoAnswerError.

    What comes out as infinite or as no number is refused where it is written.
    """
    import numpy as np

    from metaviz.theory.errors import TOO_LARGE, NoAnswerError

    try:
        with np.errstate(all="ignore"):
            yield
    except (ArithmeticError, np.linalg.LinAlgError):
        raise NoAnswerError(TOO_LARGE) from None


def _plain(value: Any) -> Any:
    """Return arrays as lists. Raises: NoAnswerError where a number is not finite."""
    import numpy as np

    from metaviz.theory.errors import TOO_LARGE, NoAnswerError

    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    told = [0.0 if one is None else one for one in value] if isinstance(value, list) else value
    if not np.isfinite(np.asarray(told, dtype=float)).all():
        raise NoAnswerError(TOO_LARGE)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _listed(values: Any) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:_MOST_SHOWN])
    return f"({shown}{', ...' if len(values) > _MOST_SHOWN else ''})"
