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


@dataclass(frozen=True)
class Case:
    name: str
    build: object
    shape: tuple[int, ...]

    def inputs(self):
        example = torch.randn(self.shape)
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
