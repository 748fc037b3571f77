"""Meta-steps translated to machine code.

A whole meta-step (inner loop, its derivatives, readings) is recorded once as a graph of tensor
operations, all of its shapes fixed, and compiled by PyTorch's inductor, which fuses neighbouring
operations. It pays where operations are small, so that calling them one by one costs more than
they do.
"""

import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from metaviz.paths import data_dir
from metaviz.training.recipe import CannotRecordError, Program, Recipe

LARGE = 20_000
"""Numbers of meta-parameters and tasks above which operations cost more than calling them."""
_BEAT_SECONDS = 0.25
_ONE_AT_A_TIME = threading.Lock()
"""PyTorch's compiler is not made for two threads: what it patches holds for the process."""
_COMPILERS = ("g++", "clang++", "c++", "cl")


def compiling(recipe: Recipe, given: list[Tensor]) -> Generator[str, None, Program]:
    """Compile in a thread of its own, so that others go on. Raises: CannotRecordError."""
    made: list[Program] = []
    began: list[float] = []

    def work() -> None:
        with _ONE_AT_A_TIME:
            began.append(time.monotonic())
            made.append(compile_recipe(recipe, given))

    kind = "steps that are read" if recipe.reading else "steps"
    for now in in_background(work):
        yield f"compiling {kind}, {now - began[0]:.0f} s" if began else "waiting for a compilation"
    return made[0]


def keep_compiled() -> None:
    """Let PyTorch keep compiled programs in the data folder; before it chooses a place itself."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(data_dir() / "compiled"))


def compile_recipe(recipe: Recipe, given: list[Tensor]) -> Program:
    """Record a recipe at given inputs, and compile it for their shapes.

    Raises: CannotRecordError.
    """
    if sum(value.numel() for value in given) > LARGE:
        raise CannotRecordError("its operations are so large that it would not pay")
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))):
        raise CannotRecordError("there is no C++ compiler here: install g++ or clang++")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its modules warn of what they use themselves
            from torch._guards import TracingContext, tracing
            from torch._inductor import config
            from torch._inductor.compile_fx import compile_fx_inner
            from torch._inductor.decomposition import select_decomp_table
            from torch._subclasses.fake_tensor import FakeTensorMode
            from torch.fx.experimental.proxy_tensor import make_fx
            from torch.fx.experimental.symbolic_shapes import ShapeEnv
    except (ImportError, OSError) as error:
        raise CannotRecordError("this PyTorch comes without its compiler") from error
    # Tensors without numbers: only of their graphs does the compiler know that it has seen them.
    mode = FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True, allow_non_fake_inputs=True)
    blanks = [mode.from_tensor(value, static_shapes=True) for value in given]
    # What the method keeps from call to call is to be made of numbers, and what it does wrong is
    # raised here as it is: whatever fails only without numbers does so for want of them.
    recipe(*given)
    try:
        with mode:
            graph = make_fx(recipe, decomposition_table=select_decomp_table())(*blanks)
    except Exception as error:
        raise CannotRecordError(
            "the method decides on numbers that it has just computed"
        ) from error
    graph.graph.eliminate_dead_code()
    graph.recompile()
    try:
        with (
            config.patch(compile_threads=1),
            tracing(TracingContext(mode)),
            torch.no_grad(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            compiled: Program = compile_fx_inner(graph, blanks)
            compiled(list(given))
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise CannotRecordError(f"compiling failed ({reason[0] if reason else error})") from error
    return compiled


def in_background(work: Callable[[], Any]) -> Iterator[float]:
    """Work in a thread; yield the time now and then until it is over, then raise what it raised."""
    raised: list[BaseException] = []

    def guarded() -> None:
        torch.set_num_threads(1)  # it is set per thread, and the compiler reads it
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            raised.append(error)

    thread = threading.Thread(target=guarded, name="metaviz-compile", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_BEAT_SECONDS)
        yield time.monotonic()
    if raised:
        raise raised[0]
