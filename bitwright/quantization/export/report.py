"""What an export consists of, and how its bytes divide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitwright.problems.formats import write_atomic

_TYPE_BITS = {"float32": 32, "float16": 16, "bfloat16": 16}


@dataclass(frozen=True, slots=True)
class Stored:
    """Bits of a layer's codes, and the types that hold them; 32 and 16 with a floating-point type.

    `rank` is that of a weight in two factors, `output` bits and type of an output that is rounded.
    """

    weight_bits: int
    weight_type: str
    input_bits: int
    input_type: str
    rank: int | None = None
    output: tuple[int, str] | None = None

    @property
    def is_wider(self) -> bool:
        """Whether a type is wider than the codes in it."""
        return any(
            bits != _TYPE_BITS.get(kind, int("".join(filter(str.isdigit, kind))))
            for bits, kind in (
                (self.weight_bits, self.weight_type),
                (self.input_bits, self.input_type),
                *([] if self.output is None else [self.output]),
            )
        )


@dataclass(frozen=True, eq=False)
class Export:
    """An ONNX model, how it stores its layers, and what somebody who runs it should know."""

    target: str
    proto: Any
    layers: Mapping[str, Stored]
    notes: Sequence[str]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next(int(o.version) for o in self.proto.opset_import if o.domain in ("", "ai.onnx"))

    @property
    def initializer_bytes(self) -> int:
        """Bytes of the stored tensors: weights, scales, biases, and whatever stays in float32."""
        return sum(len(i.raw_data) for i in self.proto.graph.initializer)

    @property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return int(self.proto.ByteSize())

    @property
    def overhead_bytes(self) -> int:
        """Bytes of the graph: nodes, names, shapes, and the scalars of the activations' grids."""
        return self.file_bytes - self.initializer_bytes

    def write(self, path: str | Path) -> None:
        """Write the file; it is there whole or not at all."""
        write_atomic(path, self.proto.SerializeToString(deterministic=True))
