"""Importing this module registers every task family, in the order in which they are shown."""

from metaviz.problems import sinusoid  # noqa: F401, I001 - order of registration
from metaviz.problems import quadratic  # noqa: F401
from metaviz.problems import omniglot  # noqa: F401
