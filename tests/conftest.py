"""What holds for every test: the same random numbers every time, whatever ran before it."""

import random

import numpy as np
import pytest
import torch

torch.manual_seed(0)  # layers that stand in lists of parameters are drawn when a file is read


@pytest.fixture(autouse=True)
def _seeded():
    """Start every test from the same seeds; a test of seeds sets its own."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
