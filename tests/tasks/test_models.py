"""The compact residual network has the layers and the shapes that its docstring states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bitwright.problems.errors import InputError
from bitwright.tasks.models import CompactResNet, ResidualBlock


def layers_of(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("widths", [(16,), (16, 24), (16, 32, 56)])
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_shapes_and_layer_count(widths, stem_stride):
    """Any widths give logits for every class out of 3 n + 1 layers with weights."""
    model = CompactResNet(channels=3, classes=5, widths=widths, stem_stride=stem_stride)
    assert model(torch.zeros(2, 3, 17, 20)).shape == (2, 5)
    assert len(layers_of(model)) == 3 * len(widths) + 1


def test_block_computes_its_formula():
    """The block is relu(norm(conv(relu(norm(conv(x))))) + norm(shortcut(x)))."""
    torch.manual_seed(0)
    block = ResidualBlock(16, 24, stride=2).eval()
    x = torch.randn(2, 16, 8, 8)
    inner = torch.relu(block.norm1(block.conv1(x)))
    expected = torch.relu(block.norm2(block.conv2(inner)) + block.shortcut_norm(block.shortcut(x)))
    torch.testing.assert_close(block(x), expected)


def test_plain_shortcut_is_the_input():
    """With the width and the size kept, a block whose last norm is zero passes positive input on."""
    block = ResidualBlock(16, 16).eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(1, 16, 4, 4)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("widths", [(), (8, 16), (16, 12)])
def test_widths_out_of_range(widths):
    """Missing widths, and those that crash torch, are refused."""
    with pytest.raises(
        InputError, match=r"widths must name one or more widths of at least 16, got"
    ):
        CompactResNet(channels=1, classes=2, widths=widths)


def test_backward_in_channels_last():
    """Training survives channels_last at the smallest widths, where torch 2.13 has a trap below."""
    model = CompactResNet(channels=3, classes=2, widths=(16, 16))
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    model(images).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
