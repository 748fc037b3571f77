"""Meta-steps that a GPU replays as one CUDA graph, without waiting for Python between kernels."""

from collections.abc import Generator

import torch
from torch import Tensor

from metaviz.training.memory_budget import is_memory_error
from metaviz.training.recipe import CannotRecordError, Program, Recipe

WARM_UPS = 3
"""Eager runs before capture, in which libraries choose kernels and take their work space."""


def capturing(recipe: Recipe, given: list[Tensor]) -> Generator[str, None, Program]:
    """Capture a meta-step with buffers of its own for inputs and outputs.

    Raises: CannotRecordError.
    """
    yield "capturing"
    buffers = [value.clone() for value in given]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):  # what a method does wrong is raised here, as it is
            recipe(*buffers)
    torch.cuda.current_stream().wait_stream(aside)
    try:
        with torch.cuda.graph(graph):
            outputs = recipe(*buffers)
    except Exception as error:
        if is_memory_error(error):
            raise
        raise CannotRecordError(
            "the method decides on numbers that it has just computed"
        ) from error

    def replay(values: list[Tensor]) -> list[Tensor]:
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)
        graph.replay()
        return outputs

    return replay
