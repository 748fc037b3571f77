"""The engine: tasks as a tensor axis, inner rules, meta-gradient estimators and their product."""
