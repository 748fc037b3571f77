"""What plugins are written with; these names stay. `metaviz plugin new NAME` writes an example.

A plugin is one Python file in the folder `plugins` of the data folder, a file named by `--plugin`,
or an installed package with an entry point of the group `metaviz.plugins`. Importing it registers
what it adds: methods, inner rules, problems, networks, quantities. Charts are what a method's
`charts` yields.
"""

from metaviz.algorithms.registry import AlgorithmOptions, MethodOptions, register
from metaviz.charts.values import (
    Axis,
    Bars,
    Chart,
    HeatMap,
    Histogram,
    ImageGrid,
    Lines,
    Panels,
    Scatter,
    Series,
)
from metaviz.config.options import OptionError, Options, option
from metaviz.config.proposer import Proposer
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, Composed, compose
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.estimators import Implicit, Reptile, Term, Unrolled
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.rules import Enters, GradientDescent, InnerRule
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.plugin_kit.arrays import register_arrays, use_network
from metaviz.plugin_kit.modules import register_network

__all__ = [
    "Algorithm",
    "AlgorithmOptions",
    "Axis",
    "Bars",
    "Batch",
    "Chart",
    "Composed",
    "Context",
    "Enters",
    "Episodic",
    "GradientDescent",
    "HeatMap",
    "Histogram",
    "ImageGrid",
    "Implicit",
    "InnerRule",
    "Learner",
    "Lines",
    "Meta",
    "MethodOptions",
    "OptionError",
    "Options",
    "Panels",
    "Prediction",
    "Proposer",
    "Quantity",
    "Reptile",
    "Scatter",
    "Series",
    "Shared",
    "TaskBatch",
    "Term",
    "Unrolled",
    "compose",
    "option",
    "register",
    "register_arrays",
    "register_network",
    "register_quantity",
    "use_network",
]
