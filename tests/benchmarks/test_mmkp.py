"""The public multi-budget instances are read as they are written, and their published optima hold."""

import os
import re
from pathlib import Path

import pytest

from benchmarks.mmkp import instances, main, read_hiremath_hill, read_khan
from bitwright.problems.errors import InputError
from bitwright.search.door import solve
from bitwright.search.ilp import IlpSolver

KHAN = """
 2  3 2
 10  12.5
 1
 7.00  1  3
 9.50  4  4.5
 8.00  2  2
 2
 5.00  1  1
 6.00  6  8
 4.00  0  0
 Solutions by  Exact Solution
 1  0  14.50
"""
FOLDER = Path(os.environ.get("BITWRIGHT_DATA", "")) / "mmkp"
needs_data = pytest.mark.skipif(
    not (FOLDER / "khan").is_dir(), reason="BITWRIGHT_DATA has no folder mmkp"
)


def test_a_khan_file(tmp_path):
    """Profits become negative losses, capacities budgets; words after the table are left alone."""
    (tmp_path / "I00").write_text(KHAN)
    problem = read_khan(tmp_path / "I00")
    assert problem.loss.tolist() == [-7, -9.5, -8, -5, -6, -4]
    assert [float(problem.costs["r1"].value(j)) for j in range(6)] == [3, 4.5, 2, 1, 8, 0]
    assert problem.budgets == {"r0": 10, "r1": 12.5}
    assert solve(problem, IlpSolver()).loss == -15.5  # choices 2 and 2: costs 10, and 12.5


def test_a_hiremath_hill_file(tmp_path):
    """Several problems stand in one file, each with its number."""
    (tmp_path / "T.txt").write_text(
        "".join(f"{k} {KHAN.split('Sol', maxsplit=1)[0]}" for k in (1, 2))
    )
    found = list(read_hiremath_hill(tmp_path / "T.txt"))
    assert [p.name for p in found] == ["T #1", "T #2"]
    assert found[0].loss.tolist() == found[1].loss.tolist()


@pytest.mark.parametrize(
    ("written", "change", "message"),
    [
        (" 4.00  0  0", " 4.00  0", "9 more numbers expected, 8 are left"),
        (" 4.00  0  0", " 4.00  0  0  1", "1 numbers too many"),
        (" 4.00  0  0", " 4.00  0  0-", "could not convert string to float: '0-'"),
        (" 2\n 5.00", " 3\n 5.00", "group 2 does not begin with its number"),
        (" 2  3 2", " 2  3.5 2", "expected an integer, got 3.5"),
    ],
)
def test_a_broken_file(tmp_path, written, change, message):
    """What does not fit is refused by name."""
    broken = KHAN.split("Sol", maxsplit=1)[0].replace(written, change)
    (tmp_path / "I00").write_text(broken)
    with pytest.raises(InputError, match=message):
        read_khan(tmp_path / "I00")


@needs_data
def test_all_files_are_read():
    """13 instances of Khan, 380 of Hiremath and Hill, of the sizes that their names tell."""
    found = list(instances(FOLDER))
    assert len(found) == 13 + 9 * 30 + 11 * 10
    for instance in found[13:]:
        groups, options, resources = map(
            int, re.search(r"(\d+)GP(\d+)IT(\d+)KP", instance.name).groups()
        )
        assert len(instance.problem) == groups
        assert len(instance.problem.loss) == groups * options
        assert len(instance.problem.budgets) == resources


@needs_data
@pytest.mark.parametrize("name", ["I01", "I02"])
def test_the_files_own_optimum(name):
    """The optimum that stands at the end of the file is what an integer program finds."""
    text = (FOLDER / "khan" / name).read_text()
    published = float(text.rpartition("Exact Solution")[2].split()[-1])
    assert -solve(read_khan(FOLDER / "khan" / name), IlpSolver()).loss == published


@needs_data
def test_the_script(capsys):
    """The table has a line for each instance asked for, and the published optimum is reached."""
    assert main(["--folder", str(FOLDER), "--only", "I01", "--seconds", "20"]) == 0
    printed = capsys.readouterr().out
    assert "| I01 | 173 |" in printed
    assert "1 instances: 1 proved, 1 of 1 best known values reached or beaten, 0 beaten" in printed


def test_no_data_is_an_error(tmp_path, capsys):
    """Without the data the script says where it looked."""
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path)])
    assert "has no best_known.json" in capsys.readouterr().err
