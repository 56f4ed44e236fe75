"""Time an 8-bit export against float32 in ONNX Runtime on this machine.

    python -m benchmarks.export [--model resnet18 --model vgg11 ...] [--size 224]

Networks are torchvision's, with random weights, which take the same time as trained ones; batch 1, one thread.
Both graphs come from the same code, and both run with all of ONNX Runtime's optimisations. They are
asked in turn, and the figure of each is its smallest of `--repeats` runs, so that a busy machine
disturbs neither. Needs the extras: pip install 'bitwright[onnx,detection]'.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch

from bitwright.networks import read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems import BitConfiguration, Precision
from bitwright.quantization import calibrate, quantized_copy
from bitwright.quantization.export import export_qdq
from bitwright.quantization.export.graph import float_graph


def main() -> None:
    """Print a row for every network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="builder of torchvision.models")
    parser.add_argument("--size", type=int, default=224, help="sides of the image")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | outputs | float32 ms | int8 ms | ratio | float32 MB | int8 MB | integer convolutions |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.model or ["resnet18"]:
        for rounded in (False, True):
            print(row(name, options.size, options.repeats, rounded=rounded), flush=True)


def row(name: str, size: int, repeats: int, *, rounded: bool) -> str:
    """The figures of one network."""
    torch.manual_seed(0)
    model = getattr(import_torchvision().models, name)(weights=None).eval()
    inputs = (torch.randn(1, 3, size, size),)
    network = read_network(model, inputs, name).description
    calibration = calibrate(model, network, [inputs])
    configuration = BitConfiguration.uniform(network.names, Precision(8, 8))
    quantized = quantized_copy(model, configuration, calibration)
    integer = export_qdq(quantized, inputs, output_batches=[inputs] if rounded else None).proto
    plain = float_graph(model, inputs, opset=18, dynamic_batch=False).proto
    kinds: Counter[str] = Counter()
    runs = [session(plain, Counter()), session(integer, kinds)]
    best = fastest(runs, inputs[0].numpy(), repeats)
    sizes = [proto.ByteSize() / 1e6 for proto in (plain, integer)]
    convolutions = kinds["QLinearConv"] + kinds["FusedConv"] + kinds["Conv"]
    return (
        f"| {name} {size} px | {'8 bits' if rounded else 'as they are'} | {best[0]:.1f} | {best[1]:.1f} | {best[0] / best[1]:.2f} | {sizes[0]:.1f} "
        f"| {sizes[1]:.1f} | {kinds['QLinearConv']} of {convolutions} |"
    )


def session(proto: onnx.ModelProto, kinds: Counter[str]) -> onnxruntime.InferenceSession:
    """The model on one thread; `kinds` takes up the operators that it was optimised to."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        made = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        kinds.update(
            node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node
        )
    return made


def fastest(
    runs: list[onnxruntime.InferenceSession], image: np.ndarray, repeats: int
) -> list[float]:
    """Milliseconds of the fastest run of each, asked in turn."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run.run(None, {run.get_inputs()[0].name: image})
            best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
