"""ONNX Runtime on the CPU, as a runtime to measure in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitwright.measuring.runtime import Inputs
from bitwright.problems.errors import missing_dependency
from bitwright.problems.precision import FLOAT32, Precision

_INTEGER = frozenset(
    (
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    )
)
_FLOAT = frozenset(
    ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
)
_DECODING = frozenset(("MatMulNBits",))
_ERRORS_ONLY = 3


class OnnxRuntime:
    """ONNX Runtime's CPU provider; every run copies nothing in and allocates its outputs."""

    name = "onnxruntime"
    precisions = (FLOAT32, Precision(8, 8))

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise missing_dependency("runtime 'onnxruntime'", "onnxruntime") from error
        self._library: Any = onnxruntime

    @property
    def version(self) -> str:
        """Version of ONNX Runtime."""
        return str(self._library.__version__)

    def load(self, model: bytes, inputs: Inputs, threads: int) -> Callable[[], object]:
        """A session with inputs bound once."""
        session = self._session(model, threads)
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        return lambda: session.run_with_iobinding(binding)

    def runs_as(self, model: bytes) -> str:
        """Read from the graph that ONNX Runtime makes of the model."""
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "optimized.onnx"
            self._session(model, 1, str(path))
            kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
        types = {"int8": _INTEGER, "float32": _FLOAT, "float32, weights decoded": _DECODING}
        return " + ".join(name for name, known in types.items() if kinds & known)

    def _session(self, model: bytes, threads: int, optimized: str = "") -> Any:
        options = self._library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A file of the optimized graph comes with a warning that it fits this kind of machine only.
        options.log_severity_level = _ERRORS_ONLY
        if optimized:
            options.optimized_model_filepath = optimized
        return self._library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
