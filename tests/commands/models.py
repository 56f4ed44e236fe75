"""Models that `bitwright cost` finds by module and function."""

from torch import nn


def small():
    """Two convolutions, one of them beside the other, and a head."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.side = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
            self.body, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

        def forward(self, x):
            x = self.stem(x)
            return self.head((self.body(x) + self.side(x)).relu().mean((2, 3)))

    return Small()


def chain():
    """Three convolutions, two of them equal, around which a sum leads."""

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
            self.last = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.first(x)
            return self.last(self.second(x) + x)

    return Chain()


def attention():
    """Attention, whose layers are functions."""
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))


def recurrent():
    """A recurrent module, which no quantizer carries out, and a head."""

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    return Recurrent()


def broken():
    """A function that fails."""
    raise ValueError("two\nlines")


def nothing():
    """A function that returns no model."""
    return 3
