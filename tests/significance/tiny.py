"""A task, a network and a quantizer small enough to be followed by hand.

Run as a script it measures into a folder, slowly, for the test that kills it.
"""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from bitwright.problems import (
    FLOAT32,
    CriticalClasses,
    LayerDescription,
    NetworkDescription,
    Precision,
)
from bitwright.problems.protocols import ScoringContext

torch.set_num_threads(1)

W2, W4, W4A8 = Precision(2, 8), Precision(4, 4), Precision(4, 8)
CANDIDATES = {"first": (W2, W4, FLOAT32), "second": (W2, W4A8, FLOAT32), "head": (W4A8, FLOAT32)}


class TinyTask:
    """37 random objects of four classes, one of which never occurs, in batches of 10."""

    name = "tiny"
    classes = ("car", "van", "bus", "tram")

    def __init__(self, *, boxes=False, data="data-1"):
        generator = torch.Generator().manual_seed(5)
        self.inputs = torch.randn(37, 6, generator=generator)
        self.labels = torch.randint(0, 3, (37,), generator=generator)
        self.boxes, self.data = boxes, data

    def batches(self, split, *, batch_size=None, seed=None):
        assert (split, seed) == ("score", None), "significance is measured on the score split alone"
        for start in range(0, len(self.labels), 10):
            yield (self.inputs[start : start + 10],), self.labels[start : start + 10]

    def object_losses(self, outputs, targets):
        losses = {"classification": F.cross_entropy(outputs, targets, reduction="none")}
        if self.boxes:
            losses["box"] = outputs.abs().mean(dim=1)
        return losses

    def object_classes(self, targets):
        return targets

    def fingerprint(self):
        return self.data


class TinyNetwork(nn.Module):
    """Three layers with a batch norm and a dropout between them."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm, self.dropout = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, x):
        x = self.norm(F.relu(self.first(x)))
        return self.head(self.dropout(F.relu(self.second(x))))


def rounded(weight, bits):
    """The weight rounded to `bits` bits over its own range."""
    step = weight.abs().max() / (2 ** (bits - 1) - 1)
    return torch.round(weight / step) * step


def tiny_network():
    torch.manual_seed(0)
    return TinyNetwork().eval()


def scoring_context(
    folder,
    *,
    task=None,
    model=None,
    candidates=None,
    critical=("car", "van"),
    calls=None,
    delay=0.0,
):
    """A context whose `quantize` rounds the weights of the layers named; `calls` lists what ran."""
    task, model = task or TinyTask(), model or tiny_network()
    calls = [] if calls is None else calls

    @contextmanager
    def quantize(configuration):
        calls.extend((name, precision) for name, precision in configuration.items())
        time.sleep(delay)
        layers = {name: model.get_submodule(name) for name in configuration}
        kept = {name: layer.weight.detach().clone() for name, layer in layers.items()}
        with torch.no_grad():
            for name, precision in configuration.items():
                layers[name].weight.copy_(rounded(kept[name], precision.weight_bits))
            try:
                yield
            finally:
                for name, layer in layers.items():
                    layer.weight.copy_(kept[name])

    layers = [LayerDescription(n, "Linear", 1, 1, (1,), (1,)) for n in ("first", "second", "head")]
    return ScoringContext(
        model=model,
        task=task,
        network=NetworkDescription("tiny", tuple(layers)),
        candidates=CANDIDATES if candidates is None else candidates,
        critical=CriticalClasses(tuple(critical)),
        quantize=quantize,
        quantization="toy rounding",
        folder=Path(folder),
        progress=lambda text, done, total: None,
    )


def losses_by_hand(task, model, layer=None, bits=None):
    """Losses of every object by term, one object at a time, with one layer's weights replaced."""
    weight = None if layer is None else model.get_submodule(layer).weight
    kept = None if weight is None else weight.detach().clone()
    collected = {}
    with torch.no_grad():
        if weight is not None:
            weight.copy_(rounded(kept, bits))
        for x, label in zip(task.inputs, task.labels, strict=True):
            for term, loss in task.object_losses(model(x[None]), label[None]).items():
                collected.setdefault(term, []).append(loss.item())
        if weight is not None:
            weight.copy_(kept)
    return collected


if __name__ == "__main__":
    from bitwright.significance.passes import measure_losses

    measure_losses(scoring_context(sys.argv[1], task=TinyTask(boxes=True), delay=0.2))
