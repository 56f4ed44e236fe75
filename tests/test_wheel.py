"""The wheel: what it holds, and that numpy and scipy are enough to solve a problem with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout and return its output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy in which the links at the root are text files."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "bitwright", source / "bitwright", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("search", "cost_models", "problems"):
        (source / name).write_text(f"bitwright/{name}", encoding="utf-8")
    out = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        out,
        source,
        cwd=out,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_one_package(wheel):
    """Everything in the wheel is in `bitwright/` or its metadata; no room lands beside it."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0].split("-")[0] for n in names} == {"bitwright"}
    assert any(n.endswith("bitwright/py.typed") for n in names)
    assert any(n.endswith("report.html.jinja") for n in names)
    assert any(n.endswith("LICENSE") for n in names)
    devices = {n.name for n in (ROOT / "bitwright/cost_models/devices").glob("*.yaml")}
    assert devices <= {n.rpartition("/")[2] for n in names}


def test_a_problem_is_solved_with_numpy_and_scipy_alone(wheel, tmp_path):
    """In an empty environment elsewhere the wheel solves, by command line and by Python."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "numpy", "scipy", cwd=tmp_path)
    run(*pip, "--no-deps", wheel, cwd=tmp_path)
    problem = shutil.copy(ROOT / "configs/resnet18_t4.json", tmp_path)
    command = ("solve", problem, "--budget", "latency_ms=50%", "--json")
    solution = json.loads(run(tmp_path / "env/bin/bitwright", *command, cwd=tmp_path))
    assert solution["status"] == "optimal"
    code = f"import bitwright; print(bitwright.solve({problem!r}, budgets={{'latency_ms': '50%'}}).loss)"
    assert float(run(python, "-c", code, cwd=tmp_path)) == solution["loss"]
    found = run(
        python,
        "-c",
        "import importlib.util as u; print(u.find_spec('search'), u.find_spec('problems'))",
        cwd=tmp_path,
    )
    assert found.split() == ["None", "None"]
