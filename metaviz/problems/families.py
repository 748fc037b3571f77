"""Importing this module registers every task family, in the order in which they are shown."""

from metaviz.problems import images, omniglot, quadratic, sinusoid, strokes  # noqa: F401 - registers them
from metaviz.problems.registry import PROBLEMS

# Whichever was imported first elsewhere.
for name in ("sinusoid", "quadratic", "strokes", "omniglot", "images"):
    PROBLEMS[name] = PROBLEMS.pop(name)
