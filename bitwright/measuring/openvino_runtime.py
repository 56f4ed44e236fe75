"""OpenVINO on the CPU, as a runtime to measure in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitwright.measuring.runtime import Inputs
from bitwright.problems.errors import missing_dependency
from bitwright.problems.precision import FLOAT32, Precision

_COMPUTING = frozenset(("Convolution", "Deconvolution", "FullyConnected", "MatMul"))
_NAMES = {"i8": "int8", "u8": "int8", "f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class OpenVinoRuntime:
    """OpenVINO's CPU plug-in, one stream, told to compute what is float32 in float32."""

    name = "openvino"
    precisions = (FLOAT32, Precision(8, 8))

    def __init__(self) -> None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise missing_dependency("runtime 'openvino'", "openvino") from error
        self._library: Any = openvino
        self._core = openvino.Core()

    @property
    def version(self) -> str:
        """Version of OpenVINO, its build left out."""
        return str(self._library.__version__).partition("-")[0]

    def load(self, model: bytes, inputs: Inputs, threads: int) -> Callable[[], object]:
        """A request whose inputs are set once."""
        request = self._compiled(model, threads).create_infer_request()
        for name, value in inputs.items():
            request.set_tensor(name, self._library.Tensor(value))
        run: Callable[[], object] = request.infer
        return run

    def runs_as(self, model: bytes) -> str:
        """Read from the graph that OpenVINO executes."""
        found = set()
        for node in self._compiled(model, 1).get_runtime_model().get_ordered_ops():
            said = {key: str(value.astype(str)) for key, value in node.get_rt_info().items()}
            if said.get("layerType") in _COMPUTING:
                kind = said.get("runtimePrecision", "")
                found.add(_NAMES.get(kind, kind))
        return " + ".join(sorted(found))

    def _compiled(self, model: bytes, threads: int) -> Any:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Where the processor has bfloat16, OpenVINO takes it for float32 unless told otherwise.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        return self._core.compile_model(self._core.read_model(model), "CPU", settings)
