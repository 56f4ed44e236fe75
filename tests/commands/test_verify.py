"""`bitwright verify` on the command line: what it takes, prints and refuses; measuring has tests of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bitwright import plots
from bitwright.pipeline import drawing, measuring
from bitwright.problems.formats import (
    dump_json,
    read_solution,
    read_verified,
    write_atomic,
)
from bitwright.problems.formats.answers_json import solution_document

from ..pipeline.solved_run import carried_out, opened
from .problems import refused, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run with everything measured; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        return carried_out(tmp_path_factory.mktemp("runs"), patch)


@pytest.fixture
def folder(finished, tmp_path, monkeypatch) -> Path:
    """A copy of it; pictures are left empty, and nothing that was measured is measured again."""
    shutil.copytree(finished, tmp_path / "tiny")
    for module in (plots, drawing):
        monkeypatch.setattr(module, "save", lambda _, path: write_atomic(path, "drawn"))
    return tmp_path / "tiny"


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """Names of what is really measured, and not taken from the journal."""
    done = []
    real = measuring._measured

    def note(work, measurement, *rest):
        done.append(str(measurement))
        return real(work, measurement, *rest)

    monkeypatch.setattr(measuring, "_measured", note)
    return done


def names(folder: Path) -> list[str]:
    return [point.name for point in read_verified(folder / "verified.json").points]


def test_a_verified_run_prints_its_table(capsys, folder, measured):
    """Without options the run's own points come from its journal; table on stdout, pictures beside."""
    before = (folder / "verified.json").read_bytes()
    status, out, err = run(capsys, "verify", folder, "--quiet", "--plot", folder.parent / "x.png")
    assert (status, err, measured) == (0, "", [])
    assert (folder / "verified.json").read_bytes() == before
    head, _, *rows = out.splitlines()
    assert head.split()[:4] == ["verified", "size_bits", "predicted", "measured"]
    assert [row.split("  ")[0] for row in rows[: len(names(folder))]] == names(folder)
    pictures = [f"{name}.{suffix}" for name in ("verified", "pareto") for suffix in ("png", "svg")]
    assert [(folder / name).read_text() for name in pictures] == ["drawn"] * 4
    assert (folder / "report.html").is_file()
    assert (folder.parent / "x.png").read_text() == "drawn"


def test_json_is_the_file(capsys, folder):
    """--json prints verified.json as it was written."""
    status, out, err = run(capsys, "verify", folder, "--json", "--quiet")
    assert (status, err) == (0, "")
    assert out == (folder / "verified.json").read_text()
    assert json.loads(out)["format"] == "bitwright-verified/1"


def test_points_seeds_and_uniform_are_as_asked(capsys, folder, measured):
    """Options replace the run's settings; only what is new is measured, and the run keeps its own."""
    config = (folder / "config.yaml").read_bytes()
    arguments = ("--points", 1, "--seeds", "5,7", "--uniform", "w8a8", "w4a8", "--quiet")
    status, _, err = run(capsys, "verify", folder, *arguments)
    assert (status, err) == (0, "")
    verified = read_verified(folder / "verified.json")
    assert verified.seeds == (5, 7)
    assert [p.name for p in verified.points if p.kind == "uniform"] == ["uniform w8a8", "uniform w4a8"]  # fmt: skip
    assert [p.kind for p in verified.points].count("front") <= 1
    assert "'small' (QAT, seed 7)" in measured
    assert "'uniform w8a8' (PTQ)" in measured
    assert not [name for name in measured if name.startswith("'small' (QAT, seed 5)")]
    assert (folder / "config.yaml").read_bytes() == config


def test_no_qat_measures_ptq_alone(capsys, folder, measured):
    """--no-qat trains nothing; a bare --uniform sets nothing beside."""
    assert run(capsys, "verify", folder, "--no-qat", "--uniform", "--quiet")[0] == 0
    verified = read_verified(folder / "verified.json")
    assert measured == []
    assert verified.seeds == ()
    assert {point.qat for point in verified.points} == {None}
    assert {point.kind for point in verified.points} == {"solution", "front"}


def test_solutions_of_files(capsys, folder, tmp_path):
    """Solutions of files are measured instead of the run's, under the names of their files."""
    for name in ("one", "two"):
        shutil.copy(folder / "solutions/small.json", tmp_path / f"{name}.json")
    files = ("--solution", tmp_path / "one.json", "--solution", tmp_path / "two.json")
    assert run(capsys, "verify", folder, *files, "--uniform", "--quiet")[0] == 0
    assert names(folder) == ["one"]  # the second has the same bits


def test_solutions_of_files_with_one_name(capsys, folder, tmp_path):
    """Files of one name in two folders keep theirs apart; one named as a baseline is refused."""
    document = solution_document(read_solution(folder / "solutions/small.json"))
    paths = [tmp_path / side / "s.json" for side in ("a", "b")]
    for path, bits in zip(paths, (2, 4), strict=True):
        document["bits"]["stem"]["weight_bits"] = bits
        path.parent.mkdir()
        path.write_text(dump_json(document))
    files = ("--solution", paths[0], "--solution", paths[1])
    arguments = ("--uniform", "--no-qat", "--quiet")
    assert run(capsys, "verify", folder, *files, *arguments)[0] == 0
    assert names(folder) == [str(path) for path in paths]
    clash = shutil.copy(paths[0], tmp_path / "uniform w4a8.json")
    said = refused(capsys, "verify", folder, "--solution", clash, "--quiet")
    assert "two points would be named 'uniform w4a8'" in said


def front_file(folder: Path, to: Path) -> Path:
    """The front of the run with bits, as `bitwright front --points --json` writes it."""
    shutil.copy(folder / "front_points.json", to)
    return to


def test_a_front_of_a_file(capsys, folder, tmp_path):
    """All points of a front file are measured, or as many as are asked for."""
    file = front_file(folder, tmp_path / "front.json")
    count = len(json.loads(file.read_text())["points"])
    arguments = ("--front", file, "--no-qat", "--uniform", "--quiet")
    assert run(capsys, "verify", folder, *arguments)[0] == 0
    assert names(folder) == [f"front {i + 1}/{count}" for i in range(count)]
    assert run(capsys, "verify", folder, *arguments, "--points", 2)[0] == 0
    assert names(folder) == [f"front 1/{count}", f"front {count}/{count}"]


def foreign(folder: Path, tmp_path: Path, change) -> Path:
    """The run's solution with other bits."""
    document = solution_document(read_solution(folder / "solutions/small.json"))
    change(document["bits"])
    (tmp_path / "foreign.json").write_text(dump_json(document))
    return tmp_path / "foreign.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bits: bits.update(stemm=bits.pop("stem")), "foreign.json: made for another network than run 'tiny': it has no layer 'stemm'; did you mean 'stem'"),
        (lambda bits: (bits.pop("stem"), bits.pop("head")), "foreign.json: made for another network than run 'tiny': it gives no bits for layers 'stem', 'head'"),
        (lambda bits: bits["stem"].update(weight_bits=3), "foreign.json: layer 'stem' does not offer w3a8; "),
    ],
)  # fmt: skip
def test_foreign_solutions_name_their_layers(capsys, folder, tmp_path, change, message):
    """Bits of another network, of part of it, or at a precision without a predicted loss are refused."""
    before = (folder / "verified.json").read_bytes()
    file = foreign(folder, tmp_path, change)
    assert message in refused(capsys, "verify", folder, "--solution", file, "--quiet")
    assert (folder / "verified.json").read_bytes() == before


def test_foreign_fronts_name_their_point(capsys, folder, tmp_path):
    """A front of another network is refused with file, point and layer."""
    document = json.loads(front_file(folder, tmp_path / "front.json").read_text())
    bits = document["points"][0]["bits"]
    bits["conv9"] = bits.pop("stem")
    (tmp_path / "front.json").write_text(json.dumps(document))
    said = refused(capsys, "verify", folder, "--front", tmp_path / "front.json", "--quiet")
    assert "front.json: front 1/" in said
    assert "it has no layer 'conv9'" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "0"], "argument --points: must be an integer of at least 1, got '0'"),
        (["--jobs", "x"], "argument --jobs: must be an integer of at least 1, got 'x'"),
        (["--seeds", "1,-2"], "argument --seeds: a seed is an integer of at least 0, got '-2'"),
        (["--seeds", "1,1"], "what was asked for: verify.seeds: 1 is given twice"),
        (["--uniform", "w3a8"], "verify.uniform: 'w3a8' is not among the precisions; did you mean"),
        (["--uniform", "4bit"], "a precision is written like 'w4a8' or 'w16a16-float', got '4bit'"),
        (["--front", "a", "--solution", "b"], "argument --solution: not allowed with argument --front"),
        (["--solution", "b", "--points", "3"], "--points is for a front, and cannot be given with --solution"),
        (["--front", "absent.json"], "absent.json: no such file"),
        (["--backend", "ray"], "unknown backend 'ray'; known: 'dask', 'loky'"),
        (["--backend", "loky", "--scheduler", "tcp://x:1"], "a scheduler is for backend 'dask', not 'loky'"),
        (["--plot", "x.gif"], "x.gif: a plot file ends in one of"),
        (["--sedes", "1"], "unknown argument '--sedes'; did you mean '--seeds'"),
    ],
)  # fmt: skip
def test_bad_arguments(capsys, finished, arguments, message):
    """Every bad argument is one line with its rule, before anything is measured."""
    assert message in refused(capsys, "verify", finished, *arguments)


def test_a_folder_that_is_no_run(capsys, finished, tmp_path):
    """A folder without a configuration, and a run that is not solved yet, say what is missing."""
    assert f"{tmp_path}: not a run folder" in refused(capsys, "verify", tmp_path)
    part = tmp_path / "part"
    shutil.copytree(finished, part)
    (part / "front_points.json").unlink()
    said = refused(capsys, "verify", part)
    assert "the run is not solved yet, front_points.json is missing" in said
    assert f"`bitwright run {part}/config.yaml --runs {tmp_path}` goes on with it" in said


def test_what_has_no_bits(capsys, folder, tmp_path):
    """A front without bits and an infeasible solution are refused with what to do."""
    said = refused(capsys, "verify", folder, "--front", folder / "front.json", "--quiet")
    assert "front.json: no point of this front has bits; make it with `bitwright front" in said
    document = solution_document(read_solution(folder / "solutions/small.json"))
    document |= {"status": "infeasible", "bits": None, "loss": None, "lower_bound": None, "gap": None, "costs": {}, "slack": {}}  # fmt: skip
    (tmp_path / "none.json").write_text(dump_json(document))
    said = refused(capsys, "verify", folder, "--solution", tmp_path / "none.json", "--quiet")
    assert "none.json: a solution that is infeasible has no bits to verify" in said


def test_nothing_to_verify(capsys, folder):
    """A run whose settings leave no point says so."""
    text = (folder / "config.yaml").read_text()
    text = text.replace("front_points: 2", "front_points: 0").replace("solutions: true", "solutions: false")  # fmt: skip
    (folder / "config.yaml").write_text(text)
    assert "nothing is left to verify" in refused(capsys, "verify", folder, "--uniform", "--quiet")


def test_qat_without_a_recipe(capsys, folder):
    """--qat needs the run's recipe."""
    text = (folder / "config.yaml").read_text()
    start = text.index("  qat:\n")
    end = text.index("  seeds:")
    (folder / "config.yaml").write_text(f"{text[:start]}  qat: null\n{text[end:]}")
    assert "has no recipe verify.qat to train by" in refused(capsys, "verify", folder, "--qat")


def test_a_folder_at_work_is_left_alone(capsys, folder):
    """While another process holds the folder, nothing is measured in it."""
    with opened(folder).folder.locked():
        assert "another run is working in this folder" in refused(capsys, "verify", folder)
