"""Errors a user can act on, and the nearest valid name for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BitwrightError(Exception):
    """Base of every error that bitwright reports as one line, without a traceback."""


class InputError(BitwrightError, ValueError):
    """A file, option or value breaks a rule; the message names thing, rule, value and nearest valid name."""


class UnsupportedProblemError(InputError):
    """The problem holds something that the chosen solver does not take, such as pairwise terms."""


class UntrueAnswerError(BitwrightError, RuntimeError):
    """A solver proposed what does not hold: a broken budget or tie, or a bound above its own answer."""


class MissingDependencyError(BitwrightError, ImportError):
    """An optional library is needed; the message says how to install it."""


_EXTRAS = {
    "torchvision": "detection",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "qonnx": "qonnx",
    "dask": "cluster",
    "distributed": "cluster",
    "gymnasium": "rl",
    "numba": "fast",
    "highspy": "highs",
}


def missing_dependency(what: str, module: str) -> MissingDependencyError:
    """The error for a library that is not installed, with the command that installs it.

    >>> str(missing_dependency("task 'coco'", "torchvision.ops"))
    "task 'coco' needs torchvision: pip install 'bitwright[detection]'"
    """
    library = module.partition(".")[0]
    extra = _EXTRAS.get(library)
    wanted = f"'bitwright[{extra}]'" if extra else library
    return MissingDependencyError(f"{what} needs {library}: pip install {wanted}")


class MeasurementError(BitwrightError, RuntimeError):
    """A network could not be run or measured, such as a forward pass that fails or a loss that is NaN."""


def nearest(name: str, known: Iterable[str], *, show: int = 12) -> str:
    """Return the end of an error message: the closest known name in any case, then the known names.

    >>> nearest("latncy_ms", ["latency_ms", "size_bits"])
    "did you mean 'latency_ms'? Known: 'latency_ms', 'size_bits'"
    >>> nearest("x", [])
    'none is known'
    """
    names = sorted(set(known))
    if not names:
        return "none is known"
    listed = ", ".join(repr(n) for n in names[:show])
    if len(names) > show:
        listed += f", ... ({len(names)} in all)"
    by_lower = {n.lower(): n for n in reversed(names)}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[close[0]]!r}? Known: {listed}" if close else f"known: {listed}"
