"""Meta-gradients of several algorithms on one batch at one point, as plain numbers."""

import json
from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass(frozen=True)
class MetaGradientRow:
    """One algorithm's meta-gradient with respect to the initialisation.

    Shapes: gradient (P,). Residuals are means over tasks, None for methods that solve nothing:
    `inner_residual` is ||grad L_S + lambda (phi - theta)||, `solver_residual` is
    ||v - A x|| / ||v|| of the linear system behind the implicit gradient.
    """

    algorithm: str
    gradient: np.ndarray
    inner_residual: float | None = None
    solver_residual: float | None = None
    seconds: float = 0.0
    gradient_evaluations: int = 0
    hessian_vector_products: int = 0
    notes: tuple[str, ...] = ()
    others: dict[str, np.ndarray] = field(default_factory=dict)
    """Gradients of further groups of meta-parameters, by group."""

    @property
    def norm(self) -> float:
        """Euclidean length of the meta-gradient."""
        return float(np.linalg.norm(self.gradient))


@dataclass(frozen=True)
class Part:
    """One tensor of the network in a flat gradient.

    It is `gradient[first : first + size]`, reshaped to its `shape` in the order `axes`, in which
    its axes lie there: `piece.reshape([shape[a] for a in axes]).transpose(numpy.argsort(axes))`.
    """

    name: str
    first: int
    size: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class GradientComparison:
    """Rows in the order in which the algorithms were named; `layout` says how gradients lie."""

    rows: tuple[MetaGradientRow, ...]
    layout: tuple[Part, ...] = ()

    def cosine(self) -> np.ndarray:
        """Return cosines between all pairs, shape (n, n); NaN where a gradient is zero."""
        lengths = np.array([row.norm for row in self.rows])
        directions = np.stack([row.gradient for row in self.rows])
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = directions / lengths[:, None]
            return np.asarray(np.clip(unit @ unit.T, -1.0, 1.0))

    def to_json(self) -> str:
        """Write `{"algorithms": {id: {gradient, ...}}, "cosine": {id: {id: c}}, "layout": [...]}`.

        The layout has a row for each tensor of the network, with the fields of `Part`.
        """
        names = [row.algorithm for row in self.rows]
        cosine = [[_number(value) for value in line] for line in self.cosine()]
        return json.dumps(
            {
                "algorithms": {
                    row.algorithm: {
                        "gradient": [_number(value) for value in row.gradient],
                        "norm": _number(row.norm),
                        "inner_residual": _number(row.inner_residual),
                        "solver_residual": _number(row.solver_residual)
                        if np.isfinite(row.norm)
                        else None,
                        "gradient_evaluations": row.gradient_evaluations,
                        "hessian_vector_products": row.hessian_vector_products,
                        "other_gradients": {
                            name: [_number(value) for value in values]
                            for name, values in row.others.items()
                        },
                        "notes": list(row.notes),
                    }
                    for row in self.rows
                },
                "cosine": {
                    name: dict(zip(names, line, strict=True))
                    for name, line in zip(names, cosine, strict=True)
                },
                "layout": [asdict(part) for part in self.layout],
            },
            allow_nan=False,
        )


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
