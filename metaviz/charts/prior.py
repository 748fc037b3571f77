"""How the classifier of a task lies in the prior that base classes have taught."""

from dataclasses import replace

import numpy as np

from metaviz.charts.values import BLUE, PALETTE, Axis, Bars, Panels, Scatter, Series

PRIOR = "prior"
"""The id of the chart."""
MOST_FEATURES, MOST_CLASSES = 60, 20


def prior_chart(mean: np.ndarray, deviation: np.ndarray, weights: np.ndarray) -> Panels:
    """Show weights (classes, d) in a prior of this mean and standard deviation (d,).

    The features shown are those whose weights lie furthest from their mean, in deviations, ordered
    by the mean; the distance of a class is of all features.
    """
    away = (weights - mean) / deviation
    chosen = np.sort(np.argsort(-np.abs(away).max(0), kind="stable")[:MOST_FEATURES])
    order = chosen[np.argsort(mean[chosen], kind="stable")]
    x, middle, reach = np.arange(float(len(order))), mean[order], 2 * deviation[order]
    prior = Series("prior", x, middle, "prior: μ ± 2 σ", "muted", width=0, dots=4)
    prior = replace(prior, low=middle - reach, high=middle + reach)
    classes = range(min(len(weights), MOST_CLASSES))
    names = [f"class {n + 1}" for n in classes]
    dots = [
        Series(name, x, row[order], name, f"method-{n % len(PALETTE)}", width=0, dots=5)
        for n, (name, row) in enumerate(zip(names, weights, strict=False))
    ]
    features = Scatter(
        id=f"{PRIOR} features",
        x=Axis("feature, by μ", ticks=()),
        y=Axis("weight"),
        series=(prior, *dots),
    )
    sizes = np.sqrt(np.square(away[: len(classes)]).mean(1))
    distances = Bars(
        id=f"{PRIOR} distance",
        x=Axis("class"),
        y=Axis("root mean square of (W − μ) / σ"),
        series=(Series("distance", np.arange(float(len(sizes))), sizes, role=BLUE),),
        names=tuple(f"{n + 1}" for n in classes),
    )
    return Panels(
        id=PRIOR,
        title="Weights of the classes of one task in their prior",
        charts=(features, distances),
        columns=2,
        caption=f"the {len(order)} features whose weights lie furthest from μ, in units of σ",
    )
