"""The run folder: markers, the lock, the manifest, and writing that is whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bitwright.pipeline.folder import RunFolder, fingerprint
from bitwright.problems import InputError
from bitwright.problems.version import __version__


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A folder in which the stage `train` wrote two files from the inputs `a`."""
    run = RunFolder(tmp_path / "run")
    run.write_json("x.json", {"x": 1})
    run.write_json("deep/y.json", [1.5, None, "é"])
    run.finish("train", "a", ["x.json", "deep/y.json"], 1.23456)
    return run


def test_a_stage_is_finished_as_it_was_left(folder):
    """Same inputs and untouched outputs: finished; other inputs or another stage: not."""
    assert folder.is_finished("train", "a")
    assert not folder.is_finished("train", "b")
    assert not folder.is_finished("score", "a")


@pytest.mark.parametrize("name", ["x.json", "deep/y.json"])
@pytest.mark.parametrize("content", [None, b"", b'{"x": 2}\n'])
def test_a_changed_or_deleted_output_undoes_the_stage(folder, name, content):
    """An output that was deleted, emptied or changed makes its stage unfinished; written back, finished."""
    before = (folder / name).read_bytes()
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert not folder.is_finished("train", "a")
    (folder / name).write_bytes(before)
    assert folder.is_finished("train", "a")


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b"{}", b'{"fingerprint": "a"}', b"\xff"])
def test_a_damaged_marker_is_no_marker(folder, marker):
    """A marker that cannot be read leaves its stage unfinished."""
    (folder / "stages/train.json").write_bytes(marker)
    assert not folder.is_finished("train", "a")


def test_a_stage_without_its_output_cannot_be_finished(folder):
    """A stage that names an output it did not write is never taken for finished."""
    folder.finish("read", "a", ["absent.json"], 0.0)
    assert not folder.is_finished("read", "a")


def test_one_process_at_a_time(folder):
    """The lock refuses a second holder in this process and in another, and is free afterwards."""
    code = (
        "import sys; from pathlib import Path; from bitwright.pipeline.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('mine')"
    )
    other = [sys.executable, "-c", code, str(folder.path)]
    with folder.locked():
        with pytest.raises(InputError, match="run: another run is working in this folder"), RunFolder(folder.path).locked():  # fmt: skip
            pass
        done = subprocess.run(other, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "another run is working in this folder" in done.stderr
    done = subprocess.run(other, capture_output=True, text=True, check=False)
    assert done.stdout == "mine\n"


def test_the_lock_is_released_after_an_error(folder):
    """An exception inside leaves the folder free."""
    with pytest.raises(RuntimeError), folder.locked():
        raise RuntimeError
    with folder.locked():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    """A file in the place of the folder is one line with its path."""
    (tmp_path / "file").touch()
    for place in ("file", "file/run"):
        with (
            pytest.raises(InputError, match=rf"{place}: cannot be made: "),
            RunFolder(tmp_path / place).locked(),
        ):
            pass


def test_writing_is_whole_or_not_at_all(folder, monkeypatch):
    """A write that dies before its rename leaves the old file, and no temporary one."""
    before = (folder / "x.json").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            InputError, match=r"x\.json: cannot be written: No space left on device"
        ):
            folder.write_json("x.json", {"x": 2})
    assert (folder / "x.json").read_bytes() == before
    assert sorted(p.name for p in folder.path.iterdir()) == ["deep", "stages", "x.json"]


def test_json_reads_back_as_it_was_written(folder):
    """Plain values survive, non-ASCII included; a damaged file is one line with its path."""
    assert folder.read_json("deep/y.json") == [1.5, None, "é"]
    (folder / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json: damaged; delete it to have it made again"):
        folder.read_json("x.json")


def test_the_manifest_tells_how_the_run_was_made(folder):
    """Versions, seeds, configuration, data and times of the finished stages stand in the manifest."""
    config = {"name": "x", "seed": 3, "verify": {"seeds": [1, 2]}}
    folder.write_manifest(config, ["train", "score"], "data-digest")
    manifest = folder.read_json("manifest.json")
    assert manifest["format"] == "bitwright-manifest/1"
    assert manifest["versions"]["bitwright"] == __version__
    assert {"python", "torch", "numpy", "scikit-learn"} <= set(manifest["versions"])
    assert (manifest["seed"], manifest["verify_seeds"]) == (3, [1, 2])
    assert (manifest["config"], manifest["data_fingerprint"]) == (config, "data-digest")
    assert set(manifest["stages"]) == {"train"}
    assert manifest["stages"]["train"]["seconds"] == 1.235
    assert manifest["stages"]["train"]["finished"].endswith("Z")


def test_fingerprints():
    """Equal values have equal fingerprints whatever their order; any other value has another."""
    one = fingerprint(a=1, b={"x": [1, 2], "y": None})
    assert one == fingerprint(b={"y": None, "x": [1, 2]}, a=1)
    others = [fingerprint(a=1.5, b=1), fingerprint(a="1", b={"x": [1, 2], "y": None}), fingerprint(a=1, b={"x": [2, 1], "y": None})]  # fmt: skip
    assert len({one, *others}) == 4
