"""Small networks of many shapes, each with inputs for one run."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        return self.relu(self.bn(self.conv(x))) + self.shortcut(x)


class SharedModule(nn.Module):
    """One convolution at two resolutions, as in a detector's head."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return {"fine": self.head(x), "coarse": [self.head(F.max_pool2d(x, 2))]}


class Branching(nn.Module):
    """Control flow that depends on the input's shape and on its values."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 16, 3)
        self.narrow = nn.Conv2d(3, 2, 3)
        self.steps = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])

    def forward(self, x):
        if x.shape[-1] > 8:
            return self.narrow(x)
        y = self.wide(x).mean((2, 3))
        for step in self.steps:
            if y.isfinite().all():
                y = torch.tanh(step(y)) * 2 - y
        return y


class FunctionalGlue(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(4, 6, 3, stride=2)
        self.b = nn.Conv1d(4, 6, 5, stride=2, padding=1, dilation=1)
        self.out = nn.Linear(12, 3)

    def forward(self, x, scale=None):
        joined = torch.cat([self.a(x), self.b(input=x)], dim=1)
        joined += 1
        joined[:, 0] = 0
        return self.out(F.silu(joined).transpose(1, 2))


class SeveralOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.GELU()), nn.Linear(8, 8))
        self.heads = nn.ModuleDict({"box": nn.Linear(4, 4), "label": nn.Linear(4, 3, bias=False)})

    def forward(self, inputs):
        left, right = self.body(inputs["x"]).chunk(2, dim=-1)
        return [self.heads["box"](left), (self.heads["label"](right), left)]


class MyConv(nn.Conv2d):
    """A user's own kind of convolution."""

    def forward(self, x):
        return super().forward(F.pad(x, (1, 1, 1, 1)))


class FunctionalWeights(nn.Module):
    """Parameters that no layer module owns, used by functions and operators."""

    def __init__(self):
        super().__init__()
        self.project = nn.Parameter(torch.randn(5, 6))
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.table = nn.Embedding(7, 4)
        self.low, self.high = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        y = F.conv2d(x, self.kernel, padding=1, stride=2).mean((2, 3))
        y = y @ (self.low @ self.high)
        tokens = F.linear(y, self.table.weight)
        return torch.addmm(
            tokens, F.pad(y, (0, 1)), torch.cat([self.project, self.project[:, :1]], 1)
        )


class OwnAttention(nn.Module):
    """Attention written with operators, `einsum`, `bmm` and torch's fused function."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        a = torch.softmax(q @ k.transpose(-2, -1), dim=-1)
        b = torch.bmm(a, v) + torch.einsum("bij,bjc->bic", a, v)
        c = torch.baddbmm(b, a, v) + F.scaled_dot_product_attention(q, k, v)
        return self.out(c)


class YoloLike(nn.Module):
    """A small one-stage detector: split bottlenecks, concatenations, a pyramid, two shared heads."""

    def __init__(self):
        super().__init__()
        self.stem = conv_block(3, 8, 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(conv_block(8 * 2**i, 16 * 2**i, 3, 2), SplitBlock(16 * 2**i))
            for i in range(3)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(c, 16, 1) for c in (16, 32, 64))
        self.merge = nn.ModuleList(conv_block(32, 16, 3, 1) for _ in range(2))
        self.box, self.label = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 5, 1)

    def forward(self, images):
        x = self.stem(torch.stack(list(images)))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        fine, middle, top = (lateral(y) for lateral, y in zip(self.lateral, levels, strict=True))
        middle = self.merge[0](torch.cat([middle, F.interpolate(top, scale_factor=2)], 1))
        fine = self.merge[1](torch.cat([fine, F.interpolate(middle, scale_factor=2)], 1))
        return [{"box": self.box(y), "label": self.label(y).sigmoid()} for y in (fine, middle, top)]


def conv_block(inside, outside, kernel, stride):
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.SiLU())


class SplitBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = conv_block(channels, channels, 1, 1)
        self.inner = conv_block(channels // 2, channels // 2, 3, 1)
        self.last = conv_block(channels // 2 * 3, channels, 1, 1)

    def forward(self, x):
        left, right = self.first(x).chunk(2, dim=1)
        return self.last(torch.cat([left, right, right + self.inner(right)], dim=1))


class Translator(nn.Module):
    """An encoder and a decoder, whose keys are not its queries; a shared Parameter at both ends."""

    def __init__(self):
        super().__init__()
        self.body = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.into, self.out = nn.Linear(16, 16, bias=False), nn.Linear(16, 16)
        self.out.weight = self.into.weight

    def forward(self, source):
        return self.out(self.body(self.into(source), source[:, :3]))


@dataclass(frozen=True)
class Case:
    name: str
    build: object
    shape: tuple[int, ...]

    def inputs(self):
        example = torch.randn(self.shape)
        if self.build is YoloLike:
            return (list(example),)
        return ({"x": example},) if self.build is SeveralOutputs else (example,)


def sequential(*modules):
    return lambda: nn.Sequential(*(module() for module in modules))


CASES = [
    Case("residual", Residual, (1, 3, 8, 8)),
    Case("shared module", SharedModule, (1, 4, 9, 9)),
    Case("branching, small", Branching, (1, 3, 7, 7)),
    Case("branching, large", Branching, (1, 3, 11, 9)),
    Case("functional glue", FunctionalGlue, (1, 4, 21)),
    Case("several outputs", SeveralOutputs, (1, 5, 6)),
    Case("depthwise", sequential(lambda: nn.Conv2d(6, 12, 3, groups=6, stride=2)), (1, 6, 11, 8)),
    Case("grouped", sequential(lambda: nn.Conv2d(6, 9, (3, 1), groups=3)), (2, 6, 7, 8)),
    Case(
        "transposed",
        sequential(
            lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1),
            lambda: nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
            lambda: nn.ConvTranspose2d(4, 4, 3, groups=4, padding=1),
        ),
        (1, 4, 5, 6),
    ),
    Case(
        "1-d transposed and 3-d",
        sequential(
            lambda: nn.ConvTranspose1d(3, 8, 6, stride=3),
            lambda: nn.Unflatten(2, (4, 3, -1)),
            lambda: nn.Conv3d(8, 4, 3, padding=1, groups=2),
            lambda: nn.ConvTranspose3d(4, 2, (1, 2, 2), stride=2),
        ),
        (1, 3, 7),
    ),
    Case("linear on 3-d input", sequential(lambda: nn.Linear(7, 5)), (2, 9, 7)),
    Case("functional weights", FunctionalWeights, (2, 3, 8, 8)),
    Case("own attention", OwnAttention, (2, 5, 8)),
    Case("yolo-like", YoloLike, (2, 3, 64, 64)),
    Case("translator", Translator, (2, 5, 16)),
    Case(
        "transformer block",
        sequential(lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        (2, 7, 16),
    ),
    Case("own subclass", sequential(lambda: MyConv(3, 4, 3)), (1, 3, 6, 6)),
]


class BasicBlock(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride != 1 or inside != outside:
            projection = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outside))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += shortcut
        return self.relu(y)


def resnet18():
    """ResNet18 as published, with torchvision's module names inside the blocks."""
    blocks = []
    for inside, outside, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        blocks += [BasicBlock(inside, outside, stride), BasicBlock(outside, outside, 1)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *head)
