"""Running exported models, and a network with every kind of layer that is exported."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.problems import BitConfiguration, Precision
from bitwright.quantization import calibrate, quantized_copy


class EveryLayer(nn.Module):
    """Convolutions (plain, depthwise, grouped, transposed, shared) and products on 3-d and 2-d inputs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.side = nn.Conv2d(4, 8, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.shared = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 2)
        self.up_norm = nn.BatchNorm2d(6)
        self.up_grouped = nn.ConvTranspose2d(6, 6, 2, groups=2)
        self.grouped_norm = nn.BatchNorm2d(6)
        self.tokens = nn.Linear(6, 6)
        self.tokens_plain = nn.Linear(6, 6, bias=False)
        self.layer_norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 5)
        self.out = nn.Linear(5, 5, bias=False)
        for norm in (self.norm, self.up_norm, self.grouped_norm):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x):
        y = F.relu(self.norm(self.stem(x)) + self.side(x))
        y = F.silu(self.shared(F.relu(self.shared(self.depthwise(y)))))
        y = self.grouped_norm(self.up_grouped(F.relu(self.up_norm(self.up(y)))))
        y = self.tokens(y.flatten(2).transpose(1, 2))
        y = self.layer_norm(self.tokens_plain(F.gelu(y))).mean(1)
        return self.out(F.relu(self.head(y)))


def every_layer():
    """The network with random weights, what a run reads, and its calibration."""
    torch.manual_seed(0)
    model = EveryLayer().eval()
    inputs = (torch.randn(4, 4, 8, 8),)
    network = read_network(model, inputs, "every").description
    return model, inputs, network, calibrate(model, network, [inputs])


def uniform(model, network, calibration, label):
    """A quantized copy with the same precision everywhere."""
    configuration = BitConfiguration.uniform(network.names, Precision.parse(label))
    return quantized_copy(model, configuration, calibration)


def session(proto, *, optimised=True):
    """The model in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def outputs(proto, *inputs, optimised=True):
    """All outputs of one run in ONNX Runtime."""
    run = session(proto, optimised=optimised)
    names = [value.name for value in run.get_inputs()]
    return run.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})


def with_output(proto, tensor):
    """A copy of the model that also returns a tensor inside it."""
    twin = onnx.ModelProto()
    twin.CopyFrom(proto)
    twin.graph.output.append(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)
    )
    return twin


def share_within_one_step(model, proto, layer, batches):
    """Share of what the layer reads, quantized, that is within one step of what it reads in torch."""
    seen = []
    quantizer = model.get_submodule(layer).input_quantizer
    handle = quantizer.register_forward_hook(lambda _m, _a, out: seen.append(out.numpy()))
    run = session(with_output(proto, f"{layer}.input_quantized"), optimised=False)
    name = run.get_inputs()[0].name
    with torch.no_grad():
        theirs = []
        for (images,), _ in batches:
            model(images)
            theirs.append(run.run([f"{layer}.input_quantized"], {name: images.numpy()})[0])
    handle.remove()
    step = quantizer.grid.scale.item()
    ours, theirs = np.concatenate(seen), np.concatenate(theirs)
    return float((np.abs(ours - theirs) < 1.01 * step).mean())


def accuracy(run, batches):
    """Share of right classes of a function from images to logits."""
    right = [(run(x).argmax(1) == y.numpy()) for (x,), y in batches]
    return float(np.concatenate(right).mean())
