"""MetaViz: explore meta-learning on your desktop."""

__version__ = "0.2.0"
