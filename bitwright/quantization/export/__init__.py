"""Writing a quantized model for other tools: ONNX (QDQ, QONNX), overrides, and plain figures."""

from bitwright.quantization.export.figures import grid_figures as grid_figures
from bitwright.quantization.export.ort_overrides import Overrides as Overrides
from bitwright.quantization.export.ort_overrides import export_overrides as export_overrides
from bitwright.quantization.export.qdq import export_qdq as export_qdq
from bitwright.quantization.export.qonnx import export_qonnx as export_qonnx
from bitwright.quantization.export.report import Export as Export
from bitwright.quantization.export.report import Stored as Stored

__all__ = [
    "Export",
    "Overrides",
    "Stored",
    "export_overrides",
    "export_qdq",
    "export_qonnx",
    "grid_figures",
]
