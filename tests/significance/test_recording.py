"""The journal: torn lines, damaged rows, and files that are not as they should be."""

import dataclasses
import json

import numpy as np
import pytest

from bitwright.problems import InputError
from bitwright.significance import read_losses
from bitwright.significance.passes import measure_losses
from bitwright.significance.recording import LossRecorder

from .tiny import W2, W4, scoring_context


@pytest.fixture
def unfinished(tmp_path):
    """A folder in which (first, w2a8), (first, w4a4) and (first, w32a32) are finished."""

    def stop(text, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_losses(dataclasses.replace(scoring_context(tmp_path), progress=stop))
    return tmp_path


def test_a_torn_line_is_one_measurement_less(unfinished):
    """A last line cut anywhere is dropped from the file, and the lines before it count."""
    journal = unfinished / "journal.jsonl"
    content = journal.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(content)):
        journal.write_bytes(content[:cut])
        assert len(LossRecorder(unfinished).seconds) == 2
        assert journal.read_bytes() == content[:last]


def test_a_row_that_is_not_as_recorded_is_measured_again(unfinished):
    """A row whose digest does not match its journal line does not count as finished."""
    recorder = LossRecorder(unfinished)
    recorder._arrays["classification"][0, 0, 5] += 1
    recorder._arrays["classification"].flush()
    assert set(LossRecorder(unfinished).seconds) == set(recorder.seconds) - {("first", W2)}
    calls = []
    measure_losses(scoring_context(unfinished, calls=calls))
    assert calls[0] == ("first", W2)
    assert ("first", W4) not in calls


def test_a_lost_journal_costs_time_only(unfinished, tmp_path_factory):
    """Without its journal a measurement starts over and ends with the same losses."""
    (unfinished / "journal.jsonl").unlink()
    whole = measure_losses(scoring_context(tmp_path_factory.mktemp("whole")))
    again = measure_losses(scoring_context(unfinished))
    np.testing.assert_array_equal(again.losses["classification"], whole.losses["classification"])


def test_a_line_that_is_no_entry_is_named(unfinished):
    """A journal with foreign content is refused with its line."""
    journal = unfinished / "journal.jsonl"
    content = journal.read_bytes()
    entry = json.loads(content.splitlines()[0])
    cases = (
        (b"what?\n", "line 4: not valid JSON"),
        (b"{}\n", "line 4: key 'component' is missing"),
        (
            json.dumps({**entry, "precision": "w0"}).encode() + b"\n",
            "line 4: a precision is written",
        ),
        (
            json.dumps({**entry, "component": "x"}).encode() + b"\n",
            "'x' at w2a8 is not in the index",
        ),
    )
    for line, message in cases:
        journal.write_bytes(content + line)
        with pytest.raises(InputError, match=message):
            LossRecorder(unfinished)


def test_an_unfinished_measurement_is_not_read(unfinished):
    """Scores are computed from complete measurements only."""
    with pytest.raises(InputError, match="not finished; score again to resume"):
        read_losses(unfinished)


def test_a_start_that_left_no_index_starts_again(tmp_path):
    """Files of a start that was killed before its index are overwritten."""
    (tmp_path / "journal.jsonl").write_bytes(b"of another time\n")
    (tmp_path / "losses_classification.npy").write_bytes(b"torn")
    measure_losses(scoring_context(tmp_path))
    assert not (tmp_path / "journal.jsonl").exists()
