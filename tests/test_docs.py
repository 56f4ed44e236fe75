"""What the documents say of solving is so: commands run, shown output is what comes out, links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import re
import shlex
from pathlib import Path

import pytest

from bitwright.cli import main

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "docs/solvers.md",
    "docs/verification.md",
    "docs/networks.md",
    "docs/quantization.md",
    "docs/qat.md",
    "docs/variants.md",
    "docs/export.md",
    "docs/cost-models-arithmetic.md",
    "docs/cost-tables.md",
    "docs/devices.md",
    "docs/measuring.md",
    "docs/reading-profiles.md",
    "docs/cost-models.md",
)
COMMANDS = ("solve", "front", "compare", "cost")


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document in a language; none is the plain ones."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if kind == language]  # fmt: skip


def shown() -> list[tuple[str, str]]:
    """Every command on a table that a document shows, with the output that it shows."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, ""):
            joined = block.replace("\\\n", " ")
            if joined.startswith("$ "):
                command, _, output = joined[2:].partition("\n")
                found.append((command, output))
            else:
                found += [(line, "") for line in joined.splitlines()]
    return [(c, out) for c, out in found if c.split()[:1] == ["bitwright"] and c.split()[1] in COMMANDS]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with the examples in it, where commands may write."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)


def comparable(text: str) -> str:
    """The text with every time replaced, and columns one space apart, however wide they are."""
    timeless = re.sub(r"\d[\d.e+-]* s$", "TIME", text, flags=re.MULTILINE)
    return "".join(re.sub(r"[ -]{2,}", " ", line).strip() + "\n" for line in timeless.splitlines())


def test_documents_show_commands():
    """The commands are found: a document that lost its blocks would pass every other test."""
    names = [command.split()[1] for command, _ in shown()]
    assert set(names) == set(COMMANDS)
    assert len([output for _, output in shown() if output]) >= 4


@pytest.mark.parametrize(("command", "output"), shown(), ids=[command for command, _ in shown()])
def test_shown_commands_run(capsys, command, output):
    """Each command works, and prints what is shown, but for `...` and times."""
    if "HiGHS" in command and importlib.util.find_spec("highspy") is None:
        pytest.skip("highspy is not installed")
    status = main(shlex.split(command)[1:])
    out, err = capsys.readouterr()
    assert status == (3 if output.startswith("infeasible") else 0), err
    if output:
        assert doctest.OutputChecker().check_output(
            comparable(output), comparable(out), doctest.ELLIPSIS
        ), out


@pytest.mark.parametrize(
    "code", [code for document in DOCUMENTS for code in blocks(document, "python") if ".solve(" in code]
)  # fmt: skip
def test_shown_python_runs(code):
    """Python that solves runs as it stands and prints an optimum."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "document", "exec"), {})
    assert printed.getvalue().startswith("optimal ")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    """Every link to a file of ours is there."""
    home = (ROOT / document).parent
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert targets
    assert [t for t in targets if not (home / t).exists()] == []
