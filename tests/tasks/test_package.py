"""The room's front door: its names resolve, and opening it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bitwright.tasks


def test_every_public_name_resolves():
    """Each name in `__all__` can be imported and is listed by `dir`."""
    for name in bitwright.tasks.__all__:
        assert getattr(bitwright.tasks, name).__name__ == name
        assert name in dir(bitwright.tasks)


def test_unknown_name():
    """A name that is not there is an ordinary attribute error."""
    with pytest.raises(AttributeError, match=r"'bitwright.tasks' has no attribute 'Nothing'"):
        getattr(bitwright.tasks, "Nothing")  # noqa: B009


def test_import_is_cheap():
    """Importing the room loads neither torch nor Pillow nor scikit-learn."""
    code = (
        "import sys, bitwright.tasks; "
        "print(sorted({'torch', 'PIL', 'sklearn'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
