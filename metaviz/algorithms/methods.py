"""The methods there are, in the order in which they are shown; each is a module of this package."""

METHODS = (
    "maml",
    "penalty",
    "fomaml",
    "reptile",
    "imaml",
    "neumann",
    "metasgd",
    "metacurvature",
    "metakfo",
    "mtnet",
    "warpgrad",
    "mirror",
    "metalstm",
    "ecml",
    "protonet",
    "joint",
    "scratch",
)
