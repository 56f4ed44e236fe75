"""The house rule: imports go one way, heavy libraries load only where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from bitwright.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bitwright"
MAY_IMPORT = {
    "problems": set(),
    "networks": {"problems"},
    "tasks": {"problems"},
    "cost_models": {"problems", "networks"},
    "quantization": {"problems", "networks"},
    "significance": {"problems", "networks", "quantization"},
    "search": {"problems"},
    "testing": {"problems", "search"},
}
TABLE_ROOMS = ("problems", "search")
HEAVY = (
    "torch",
    "scipy",
    "optuna",
    "pulp",
    "networkx",
    "matplotlib",
    "pydantic",
    "rich",
    "sklearn",
    "joblib",
    "distributed",
    "onnx",
    "onnxruntime",
    "openvino",
)


def imported_modules(file: Path) -> set[str]:
    """Absolute names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a name comes from"
            found.add(str(node.module))
            if node.module == "bitwright":
                found |= {f"bitwright.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    """No file of a room imports the face or a room that the house rule does not allow it."""
    allowed = MAY_IMPORT[room] | {room}
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for file in files:
        ours = {m for m in imported_modules(file) if m.split(".")[0] == "bitwright"}
        for module in ours:
            place = module.split(".")[1] if "." in module else "(the face)"
            assert place in allowed, f"{file.relative_to(ROOT)} imports {module}"


def test_every_room_is_in_the_rule():
    """A new sub-package must be given its place in the rule, or belong to the face."""
    face = {"commands", "measuring", "pipeline"}
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT) | face


@pytest.mark.parametrize("room", TABLE_ROOMS)
def test_no_file_for_tables_imports_torch(room):
    """Nothing that solves tables imports torch, not even inside a function (types apart)."""
    for file in (PACKAGE / room).rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typed = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
        ]
        for_types = {id(inner) for block in typed for inner in ast.walk(block)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in for_types:
                assert "torch" not in ast.unparse(node), (
                    f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
                )


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules that the command line has loaded when it is done."""
    code = (
        "import sys; from bitwright.cli import main; "
        f"status = main({list(arguments)!r}); "
        "print('MODULES', *{name.split('.')[0] for name in sys.modules}); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES ")[2].split())


def test_help_loads_nothing_heavy():
    """`bitwright --help` loads neither numpy nor any heavier library."""
    assert not modules_after("--help") & {*HEAVY, "numpy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command):
    """The help of a command loads no heavy library."""
    assert not modules_after(command, "--help") & set(HEAVY)


@pytest.mark.parametrize("device", [(), ("--device", "nvidia_t4")], ids=["", "on a device"])
def test_the_exact_solver_loads_numpy_alone(device):
    """Solving a problem file exactly needs numpy and nothing else heavy, on a device neither."""
    problem = str(ROOT / "configs/resnet18_t4.json")
    asked = ("--budget", "latency_ms=50%", "--json", "--quiet", *device)
    loaded = modules_after("solve", problem, *asked)
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_links_lead_into_the_package():
    """The links at the root lead visitors to the rooms, also where they are checked out as text."""
    for name in ("search", "cost_models", "problems"):
        link = ROOT / name
        target = (
            link.read_text(encoding="utf-8").strip() if link.is_file() else str(link.readlink())
        )
        assert target == f"bitwright/{name}"
        assert (ROOT / target / "__init__.py").is_file()
