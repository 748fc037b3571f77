"""Random numbers addressed by (seed, split, task): any worker, batch size or restart sees the same.

Numbers of task i do not depend on how many tasks are drawn at once or in which order.
"""

import zlib
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str) -> np.ndarray:
    entropy = [seed, zlib.crc32(purpose.encode())]
    return np.random.SeedSequence(entropy).generate_state(2, np.uint64)


def uniforms(seed: int, purpose: str, first: int, count: int, draws: int) -> np.ndarray:
    """Return numbers in [0, 1) for tasks first..first+count-1, shape (count, draws), float64.

    A counter-based generator (Philox) is set to the first task's counter; each task owns
    ceil(draws / 4) counters, so `draws` must be the same in every call for one purpose.
    """
    blocks = -(-draws // 4)
    bits = np.random.Philox(key=_key(seed, purpose), counter=first * blocks)
    return np.random.Generator(bits).random((count, 4 * blocks))[:, :draws]


def order(seed: int, purpose: str, epoch: int, count: int) -> np.ndarray:
    """Return the numbers 0..count-1 in a random order that belongs to an epoch, shape (count,)."""
    found: np.ndarray = uniforms(seed, purpose, epoch, 1, count)[0].argsort(kind="stable")
    return found


def drawn_places(seed: int, purpose: str, first: int, count: int, total: int) -> np.ndarray:
    """Return numbers first..first+count-1 of an endless row of orders of 0..total-1, (count,).

    Each order is an epoch: every place comes once before any comes again.
    """
    places = np.arange(first, first + count)
    found = np.empty(count, np.int64)
    for epoch in range(first // total, (first + count - 1) // total + 1):
        mine = places // total == epoch
        found[mine] = _epoch(seed, purpose, epoch, total)[places[mine] % total]
    return found


@lru_cache(maxsize=2)
def _epoch(seed: int, purpose: str, epoch: int, total: int) -> np.ndarray:
    return order(seed, purpose, epoch, total)


def normals(uniform: np.ndarray) -> np.ndarray:
    """Turn pairs of uniform numbers into normal ones, shape (..., 2 m), by Box and Muller."""
    first, second = np.split(uniform, 2, axis=-1)
    radius = np.sqrt(-2 * np.log1p(-first))
    angle = 2 * np.pi * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def derived_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Return a seed for a separate stream, for instance of initial weights or of minibatches."""
    return int(np.random.SeedSequence([*_key(seed, purpose), index]).generate_state(1)[0])
