"""Writing a quantized model for other tools: ONNX (QDQ, QONNX), and lists of precisions."""

from bitwright.quantization.export.qdq import export_qdq as export_qdq
from bitwright.quantization.export.report import Export as Export

__all__ = ["Export", "export_qdq"]
