"""What the measurements should come to, for all tables."""

SPEED = {
    ("sinusoid, K = 1", "maml"): 25.0,
    ("sinusoid, K = 1", "maml engine=compiled"): 60.0,
    ("sinusoid, K = 5", "maml"): 17.0,
    ("sinusoid, K = 5", "maml engine=compiled"): 40.0,
    ("28x28", "maml"): 1.6,
    ("28x28", "fomaml"): 2.5,
    ("28x28", "reptile"): 7.0,
    ("28x28", "reptile data=support"): 7.0,
    ("84x84", "maml"): 2.0,
}
"""Times as fast as second-order MAML by `higher`, by workload and method with its options."""

MEMORY = {"84x84": 1.2}
"""At most so many times the peak memory of `higher`, by workload; nothing is asked where both are
small."""

GEOMETRY = {"metasgd": 1.15, "metacurvature": 1.5, "mirror": 3.0}
"""At most so many times MAML's time for a meta-step, on images of 28x28."""

FIRST_POINT_SECONDS = 5.0
"""From the start of the process to the first point of a live curve."""
