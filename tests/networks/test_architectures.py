"""Published architectures with random weights, against torch's flop counter and published figures."""

import functools

import pytest
import torch
from torch import nn

from bitwright.cost_models import BitOperations, WeightSize
from bitwright.networks import TIE_RULES, pin, read_network
from bitwright.networks.torchvision_import import import_torchvision
from bitwright.problems.precision import Precision
from bitwright.uniform_costs import uniform_configurations

from .flops import flops

MIB, GIGA = 8 * 2**20, 10**9
W8 = Precision(8, 8)


def built(family, name, **options):
    """A model of torchvision's with random weights."""
    models = import_torchvision().models
    return getattr(getattr(models, family) if family else models, name)(weights=None, **options)


def pinned_costs(network, precision):
    """Bit operations and bits of the weights with every layer but the pinned ones at a precision."""
    models = [BitOperations(), WeightSize()]
    (made,), _ = uniform_configurations(network, [precision], models, None, pinned=True)
    return made.totals


def image(size, *, batch=1):
    return (torch.rand(batch, 3, size, size),)


CLASSIFIERS = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "efficientnet_b0": 64,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_1": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "densenet121": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "maxvit_t": 224,
}
HEAVY = {"resnext50_32x4d", "densenet121", "convnext_tiny", "swin_t", "swin_v2_t", "maxvit_t"}
WITH_TABLES = {"swin_t", "swin_v2_t", "maxvit_t", "convnext_tiny"}  # of positions, of scales
DETECTORS = {
    "ssdlite320_mobilenet_v3_large": 320,
    "fcos_resnet50_fpn": 128,
    "retinanet_resnet50_fpn": 128,
    "fasterrcnn_resnet50_fpn": 128,
    "ssd300_vgg16": 300,
}


def marked(names, heavy):
    return [pytest.param(n, marks=[pytest.mark.slow] if n in heavy else []) for n in names]


def agrees(model, inputs):
    """Whether multiply-adds are half of torch's flops, and the weights those of the modules."""
    network = read_network(model, inputs).description
    assert 2 * network.macs == flops(model, inputs)
    modules = dict(model.named_modules())
    for layer in network:
        if layer.quantizable and layer.function is None:
            assert layer.parameters == modules[layer.name].weight.numel()
    return network


@pytest.mark.parametrize("name", marked(CLASSIFIERS, HEAVY))
def test_classifiers(name):
    """Multiply-adds of torchvision's classifiers are exactly half of torch's flops."""
    network = agrees(model := built(None, name), image(CLASSIFIERS[name]))
    if name not in WITH_TABLES:
        assert network.parameters == sum(p.numel() for p in model.parameters() if p.ndim > 1)


def test_a_vision_transformer():
    """Attention's projections and products are counted, and all can be quantized."""
    models = import_torchvision().models
    model = models.VisionTransformer(32, 16, 2, 12, 768, 3072)
    network = agrees(model, image(32, batch=2))
    embeddings = model.class_token.numel() + model.encoder.pos_embedding.numel()
    weights = sum(p.numel() for p in model.parameters() if p.ndim > 1)
    assert network.parameters == weights - embeddings
    assert sum(layer.function is not None for layer in network) == 2 * 3
    assert network.quantizable_names == network.names


# Where its operators are not compiled, torchvision lets torch compile its own region pooling.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", marked(DETECTORS, set(DETECTORS) - {"fcos_resnet50_fpn"}))
def test_detectors(name):
    """Detectors take a list of images and return lists of dictionaries; their heads are shared."""
    size, options = DETECTORS[name], {}
    if not name.startswith("ssd"):
        options = {"min_size": size, "max_size": size}
    model = built("detection", name, weights_backbone=None, **options)
    network = agrees(model, ([torch.rand(3, size, size)],))
    assert network.parameters == sum(p.numel() for p in model.parameters() if p.ndim > 1)


def test_a_network_of_three_dimensions():
    """A video network's 3-d convolutions are counted."""
    agrees(built("video", "r3d_18"), (torch.rand(1, 3, 4, 32, 32),))


@pytest.mark.slow
def test_segmentation():
    """Dilated convolutions on two outputs are counted."""
    agrees(built("segmentation", "deeplabv3_mobilenet_v3_large", weights_backbone=None), image(64))


@functools.cache
def described(name):
    """Description at 224 pixels, of random weights."""
    return read_network(built(None, name), image(224), name, ties=()).description


@pytest.mark.parametrize(
    ("name", "layers", "weights", "macs"),
    [
        ("resnet18", 21, 11_678_912, 1_814_073_344),
        pytest.param("resnet50", 54, 25_502_912, 4_089_184_256, marks=pytest.mark.slow),
        ("mobilenet_v2", 53, 3_469_760, 300_774_272),
    ],
)
def test_published_sizes(name, layers, weights, macs):
    """ResNets as in HAWQ-V3's and OMPQ's tables (stride in conv2), MobileNetV2 in OMPQ's."""
    network = described(name)
    assert (len(network), network.parameters, network.macs) == (layers, weights, macs)


@pytest.mark.parametrize(
    ("name", "bits", "mib", "gbops"),
    [
        ("resnet18", 8, 11.138, 116.10),
        ("resnet18", 4, 5.818, 34.71),
        pytest.param("resnet50", 8, 24.321, None, marks=pytest.mark.slow),
        pytest.param("resnet50", 4, 13.142, None, marks=pytest.mark.slow),
    ],
)
def test_published_costs_of_uniform_bits(name, bits, mib, gbops):
    """Sizes and bit operations with first and last layer at 8 bits are HAWQ-V3's.

    Its ResNet50 has the stride in conv1, so that only the sizes compare.
    """
    network = pin(described(name), {"first": W8, "last": W8})
    costs = pinned_costs(network, Precision(bits, bits))
    assert round(costs["size_bits"] / MIB, 3) == mib
    assert gbops is None or round(costs["bitops"] / GIGA, 2) == gbops


def test_bit_operations_of_resnet50_with_the_stride_in_conv1():
    """With the stride of every block in its first convolution HAWQ-V3's bit operations come out."""
    model = built(None, "resnet50")
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    network = read_network(model, image(224), ties=()).description
    assert network.macs == 3_857_973_248
    network = pin(network, {"first": W8, "last": W8})
    gbops = [round(pinned_costs(network, Precision(b, b))["bitops"] / GIGA, 2) for b in (8, 4)]
    assert gbops == [246.91, 67.49]


@pytest.mark.parametrize(
    ("bits", "mib"),
    [
        ("4 3 4 4 4 4 4 3 4 4 2 2 2 2 2 2 2 2", 2.995),
        ("4 3 3 4 4 4 4 4 4 4 3 3 4 3 2 2 2 3", 3.495),
        ("4 4 4 4 4 4 4 3 3 3 3 3 4 3 2 3 3 3", 3.996),
        ("4 3 3 4 4 4 4 4 4 4 3 3 4 4 3 3 3 3", 4.495),
        ("4 3 3 3 4 4 4 3 4 3 4 3 4 3 3 4 4 4", 4.995),
        ("4 4 4 4 4 4 4 4 4 4 3 4 4 4 4 4 4 4", 5.495),
    ],
)
def test_published_configurations_of_resnet18(bits, mib):
    """OMPQ's configurations have their published sizes where its rule ties the shortcuts."""
    model = built(None, "resnet18")
    network = read_network(model, image(64), ties=("ompq",)).description
    shortcuts = {tie.layers[1]: tie.layers[0] for tie in network.ties}
    chosen = [name for name in network.names if name not in shortcuts]
    width = dict(zip(chosen, map(int, bits.split()), strict=True))
    width |= {shortcut: width[convolution] for shortcut, convolution in shortcuts.items()}
    size = sum(layer.parameters * width[layer.name] for layer in network)
    assert round(size / MIB, 3) == mib


@pytest.mark.parametrize(
    ("widths", "mib"),
    [
        ([4] * 52 + [3], 1.502),
        ([4] * 50 + [3, 3, 2], 1.264),
        ([4] * 41 + [3, 3, 4, 3, 3, 4, 3, 3, 4, 2, 2, 2], 1.076),
    ],
)
def test_published_configurations_of_mobilenet(widths, mib):
    """OMPQ's configurations of MobileNetV2, in the order of the layers, have their published sizes."""
    weights = [layer.parameters for layer in described("mobilenet_v2")]
    size = sum(n * b for n, b in zip(weights, widths, strict=True))
    assert round(size / MIB, 3) == mib


class Recurrent(nn.Module):
    """A layer of which no quantizer is known, beside others that read the same."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.rnn(x)[0] + self.a(x) + self.b(x)


def test_every_rule_runs_on_every_kind_of_network():
    """No rule fails on attention, recurrence or a pyramid; activation ties hold what can be quantized."""
    models = import_torchvision().models
    fcos = built("detection", "fcos_resnet50_fpn", weights_backbone=None, min_size=64, max_size=64)
    for model, inputs in (
        (models.VisionTransformer(32, 16, 1, 2, 16, 32), image(32)),
        (fcos, ([torch.rand(3, 64, 64)],)),
        (Recurrent(), (torch.rand(1, 3, 4),)),
    ):
        network = read_network(model, inputs, ties=tuple(TIE_RULES)).description
        fixed = set(network.names) - set(network.quantizable_names)
        assert not any(fixed & set(tie.layers) for tie in network.ties)
    assert fixed == {"rnn"}
