"""Charts of one task from a method's maps: where its examples lie, and what resembles what."""

from collections.abc import Mapping

import torch
from torch import Tensor

from metaviz.charts.embedding import embedding_chart
from metaviz.charts.similarity import similarity_chart
from metaviz.charts.values import HeatMap, Scatter
from metaviz.meta.context import Context
from metaviz.meta.vectors import class_means


def first_embedding(context: Context, maps: Mapping[str, Tensor]) -> Scatter:
    """Show where the first task's examples and prototypes lie.

    Shapes: the maps support, query and prototypes are (tasks, n, d); without prototypes, those are
    the means of the classes' support examples. Where there are `begins` (tasks, ways, d), lines
    lead from there to the prototypes.
    """
    tasks = context.tasks
    prototypes = maps.get("prototypes")
    if prototypes is None:
        prototypes = class_means(maps["support"], tasks.support.y, context.ways)
    points = {
        "prototype": (prototypes[0], torch.arange(context.ways)),
        "query": (maps["query"][0], tasks.query.y[0]),
        "support": (maps["support"][0], tasks.support.y[0]),
    }
    begins = maps["begins"][0].cpu().numpy() if "begins" in maps else None
    return embedding_chart(
        {kind: (z.cpu().numpy(), y.cpu().numpy()) for kind, (z, y) in points.items()}, begins
    )


def first_similarity(
    context: Context,
    values: Tensor,
    title: str,
    meaning: str,
    levels: tuple[float, float] | None = None,
    *,
    to_classes: bool = False,
) -> HeatMap:
    """Show the first task's values (tasks, queries, m): of support examples, or of classes."""
    tasks = context.tasks
    columns = torch.arange(context.ways) if to_classes else tasks.support.y[0].cpu()
    rows = tasks.query.y[0].cpu()
    picked = values[0].double().cpu()
    return similarity_chart(picked.numpy(), rows.numpy(), columns.numpy(), title, meaning, levels)
