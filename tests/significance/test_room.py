"""The room as others enter it."""

import subprocess
import sys


def test_entering_loads_neither_torch_nor_scipy():
    """Critical classes, stored losses and clean-up are there without the libraries that measure."""
    code = (
        "import sys, bitwright.significance, bitwright.cost_models; "
        "print([name for name in ('torch', 'scipy', 'networkx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
