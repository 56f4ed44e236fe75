"""What a runtime must be able to do so that layers and networks can be measured in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from bitwright.problems.precision import Precision

Inputs = Mapping[str, NDArray[Any]]


class Runtime(Protocol):
    """Loads ONNX models and runs them; registered under the entry points `bitwright.runtimes`."""

    name: str

    @property
    def version(self) -> str:
        """Version of the library that runs the models."""

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions that it computes in a type of their own: what is measured when nobody chooses."""

    def load(self, model: bytes, inputs: Inputs, threads: int) -> Callable[[], object]:
        """A function that runs the model once on these inputs; raises anything where it cannot."""

    def runs_as(self, model: bytes) -> str:
        """The types in which the model's convolutions and products are computed once it is loaded.

        `int8`, `float32`, or several with ` + ` between them; empty where the runtime does not say.
        """
