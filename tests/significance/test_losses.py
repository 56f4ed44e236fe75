"""Reading stored losses: what a reader gets, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from bitwright.problems import InputError
from bitwright.significance import read_losses
from bitwright.significance.passes import measure_losses

from .tiny import CANDIDATES, TinyTask, scoring_context


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    measure_losses(scoring_context(folder, task=TinyTask(boxes=True)))
    return folder


@pytest.fixture
def folder(measured, tmp_path):
    return shutil.copytree(measured, tmp_path / "significance")


def test_arrays_are_maps_that_nobody_writes(folder):
    """The arrays stay on disk and are read-only; their shapes and type are those of the format."""
    losses = read_losses(folder)
    for term in ("classification", "box"):
        assert isinstance(losses.losses[term], np.memmap)
        assert losses.losses[term].shape == (3, 4, 37)
        assert losses.float_losses[term].shape == (37,)
        assert losses.losses[term].dtype == losses.float_losses[term].dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            losses.losses[term][0] = 0


def test_the_index_says_what_was_measured(folder):
    """The index names format, components, precisions, classes, objects, seconds and version."""
    document = json.loads((folder / "index.json").read_text())
    assert document["format"] == "bitwright-significance/1"
    assert document["components"] == list(CANDIDATES)
    assert document["precisions"] == ["w2a8", "w4a4", "w4a8", "w32a32"]
    assert document["candidates"]["head"] == ["w4a8", "w32a32"]
    assert document["classes"] == list(TinyTask.classes)
    assert document["terms"] == ["classification", "box"]
    assert document["objects"] == {"split": "score", "classes": TinyTask().labels.tolist()}
    assert all(s > 0 for row in document["seconds"].values() for s in row.values())
    assert {"version", "method", "seed", "weights", "data"} <= set(document)


@pytest.mark.parametrize("name", ["losses_box.npy", "float_losses_classification.npy"])
def test_damaged_arrays_are_refused_in_one_line(folder, name):
    """A missing, truncated, retyped, reshaped, pickled or foreign file is named, in one line."""
    path = folder / name
    array = np.load(path)
    damages = (
        (path.unlink, "no such file"),
        (lambda: path.write_bytes(b""), "damaged, or no array"),
        (lambda: path.write_bytes(b"not an array"), "damaged, or no array"),
        (lambda: (np.save(path, array), path.write_bytes(path.read_bytes()[:-4])), "damaged"),
        (lambda: np.save(path, np.array([{}, None])), "damaged, or no array"),
        (lambda: np.save(path, array.astype(np.float64)), "must be float32 of shape .*got float64"),
        (lambda: np.save(path, array[..., 1:]), "must be float32 of shape"),
    )
    for damage, message in damages:
        damage()
        with pytest.raises(InputError, match=f"{name}: {message}") as caught:
            read_losses(folder)
        assert "\n" not in str(caught.value)


def test_damaged_indexes_are_refused_in_one_line(folder):
    """An index with a wrong value is refused with file and place."""
    path = folder / "index.json"
    document = json.loads(path.read_text())
    changes = (
        ({"format": "bitwright-significance/2"}, "format: .* is unknown"),
        ({"components": ["first"]}, "components: must be the keys of 'candidates'"),
        ({"precisions": ["w2a8"]}, "precisions: must be all the precisions"),
        ({"precisions": ["w0a0"]}, "precisions: .* integer from 1"),
        ({"classes": ["car"]}, "objects.classes: must be indices of the 1 classes"),
        ({"seconds": {"first": {"w2a8": 1.0}}}, "seconds: must hold one time"),
        ({"seconds": {"first": {"w2a8": "1"}}}, "seconds.first.w2a8: must be a number"),
        ({"more": 1}, "unknown key 'more'"),
    )
    for change, message in changes:
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(InputError, match=rf"index\.json: {message}") as caught:
            read_losses(folder)
        assert "\n" not in str(caught.value)
    path.write_text(json.dumps(document)[:-9])
    with pytest.raises(InputError, match=r"index\.json: not valid JSON"):
        read_losses(folder)
