"""Features as vectors: means of classes, lengths and distances."""

import torch
from torch import Tensor

SMALLEST = 1e-12
"""Smallest length that vectors are divided by."""


def class_means(z: Tensor, y: Tensor, ways: int) -> Tensor:
    """Return the mean of each class's features z (tasks, n, d), shape (tasks, ways, d)."""
    members = memberships(y, ways, z)
    return members.mT @ z / members.sum(1).unsqueeze(2)


def memberships(y: Tensor, ways: int, like: Tensor) -> Tensor:
    """Return one-hot labels (tasks, n, ways) of labels (tasks, n), in a tensor's type."""
    return torch.nn.functional.one_hot(y, ways).to(like.dtype)


def unit(z: Tensor) -> Tensor:
    """Return vectors (..., d) divided by their lengths; those of length zero stay zero."""
    length: Tensor = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z / length.clamp_min(SMALLEST)


def squared_distances(z: Tensor, points: Tensor) -> Tensor:
    """Return |z - p|² of z (tasks, n, d) to points (tasks, m, d), shape (tasks, n, m).

    Distances do not change with the origin; about the points' mean, little is lost where features
    are long and close to each other. Rounding may leave them slightly below zero.
    """
    middle = points.mean(1, keepdim=True).detach()
    z, points = z - middle, points - middle
    squared = (z * z).sum(2, keepdim=True) - 2 * z @ points.mT
    return squared + (points * points).sum(2).unsqueeze(1)
