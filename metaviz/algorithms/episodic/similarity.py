"""The chart of how similar queries are to support examples or classes, from a method's maps."""

import torch
from torch import Tensor

from metaviz.charts.similarity import similarity_chart
from metaviz.charts.values import HeatMap
from metaviz.meta.context import Context


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
