"""The network that the built-in tasks train: a compact residual classifier."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from bitwright.problems.errors import InputError


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: `relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))`.

    The shortcut is the input itself, or a 1x1 convolution where the width or the stride changes.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        self.shortcut_norm: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + self.shortcut_norm(self.shortcut(x)))


class CompactResNet(nn.Module):
    """A stem, one residual block per width, global average pooling, and a linear head.

    The first block keeps the stem's size and width, each later one halves the sides, so `widths`
    of length n give 3 n + 1 layers with weights. Widths below 16 are refused: torch 2.13 on CPU
    crashes in the backward of `Conv2d(8 or 12, 16, 1, stride=2)` with channels_last tensors.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        widths: Sequence[int],
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 16:
            raise InputError(
                f"widths must name one or more widths of at least 16, got {list(widths)}"
            )
        self.stem = nn.Conv2d(channels, widths[0], 3, stride=stem_stride, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList([ResidualBlock(widths[0], widths[0])])
        for inputs, outputs in pairwise(widths):
            self.blocks.append(ResidualBlock(inputs, outputs, stride=2))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, H, W) to logits (N, classes)."""
        x = functional.relu(self.stem_norm(self.stem(images)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]
