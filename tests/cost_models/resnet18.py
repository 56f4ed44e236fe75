"""ResNet18 at 224 x 224 from its layer shapes alone, as an independent truth for the arithmetic."""

from bitwright.problems import LayerDescription, NetworkDescription


def convolution(name, inputs, outputs, kernel, side):
    """A convolution without bias whose output is `side` x `side`."""
    parameters = inputs * outputs * kernel * kernel
    return LayerDescription(
        name, "Conv2d", parameters, parameters * side * side, (1, inputs), (1, outputs, side, side)
    )


def resnet18():
    """The 21 layers of ResNet18 (He et al. 2016, table 1), named as torchvision names them."""
    layers = [convolution("conv1", 3, 64, 7, 112)]
    widths = ((64, 64, 56), (64, 128, 28), (128, 256, 14), (256, 512, 7))
    for stage, (inputs, width, side) in enumerate(widths, start=1):
        for block in (0, 1):
            first = inputs if block == 0 else width
            layers.append(convolution(f"layer{stage}.{block}.conv1", first, width, 3, side))
            layers.append(convolution(f"layer{stage}.{block}.conv2", width, width, 3, side))
            if first != width:
                layers.append(convolution(f"layer{stage}.0.downsample.0", first, width, 1, side))
    layers.append(LayerDescription("fc", "Linear", 512_000, 512_000, (1, 512), (1, 1000)))
    return NetworkDescription("resnet18", tuple(layers))
