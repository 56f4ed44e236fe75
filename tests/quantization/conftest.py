import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bitwright.networks import read_network
from bitwright.quantization import TrainingRecipe, calibrate, fit
from bitwright.tasks import Digits


class SmallNet(nn.Module):
    """A residual network with a grouped, a transposed and a shared convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = x + F.silu(self.shared(self.shared(x)))
        return self.fc(input=self.up(x).mean((2, 3)))


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def model():
    return SmallNet().eval()


@pytest.fixture
def batches():
    return [(torch.randn(4, 1, 6, 6),) for _ in range(3)]


@pytest.fixture
def network(model, batches):
    return read_network(model, batches[0], "small").description


@pytest.fixture
def calibration(model, network, batches):
    return calibrate(model, network, batches)


@pytest.fixture(scope="session")
def trained_digits():
    """A small residual network trained on noisy digits (0.93 right), with its task."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Digits(noise=0.2)
    model = task.build_model()
    fit(model, task, TrainingRecipe(epochs=12, batch_size=32, weight_decay=0.01), seed=0)
    return model.eval(), task
