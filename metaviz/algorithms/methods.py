"""Importing this module registers every method, in the order in which they are shown."""

from metaviz.algorithms import maml  # noqa: F401, I001 - order of registration
from metaviz.algorithms import penalty  # noqa: F401
from metaviz.algorithms import fomaml  # noqa: F401
from metaviz.algorithms import reptile  # noqa: F401
from metaviz.algorithms import imaml  # noqa: F401
from metaviz.algorithms import neumann  # noqa: F401
from metaviz.algorithms import joint  # noqa: F401
from metaviz.algorithms import scratch  # noqa: F401
from metaviz.algorithms import metasgd  # noqa: F401
from metaviz.algorithms import metacurvature  # noqa: F401
from metaviz.algorithms import metakfo  # noqa: F401
from metaviz.algorithms import mtnet  # noqa: F401
from metaviz.algorithms import metalstm  # noqa: F401
from metaviz.algorithms import ecml  # noqa: F401
from metaviz.algorithms import warpgrad  # noqa: F401
