"""Each reader against files of exactly the shape that its tool writes, and what none of them is."""

import json
import statistics
from fractions import Fraction

import pytest

from bitwright.cost_models.readers import FORMATS, read_profile
from bitwright.problems import InputError
from bitwright.problems.formats.json_text import LARGEST_BYTES

from . import files


@pytest.fixture
def read(tmp_path):
    def put(content, *arguments, **options):
        path = tmp_path / "profile"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_profile(path, *arguments, **options)

    return put


def times(profile):
    return {row.name: row.time_us for row in profile.rows}


@pytest.mark.parametrize("content", files.SAMPLES.values(), ids=files.SAMPLES)
def test_the_tool_is_told_by_the_content(read, content):
    """Without a format the same rows are read as with the right one, and every other one is refused."""
    told = read(content)
    assert read(content, told.tool) == told
    for other in set(FORMATS) - {told.tool}:
        with pytest.raises(InputError, match="profile: "):
            read(content, other)


def test_trtexec_gives_medians_or_averages_of_all_runs(read):
    """`medianMs` is taken where the file has it, `averageMs` in old files or on request; in us."""
    document = json.loads(files.TRTEXEC)[1:]
    medians = {row["name"]: Fraction(str(row["medianMs"])) * 1000 for row in document}
    averages = {row["name"]: Fraction(str(row["averageMs"])) * 1000 for row in document}
    assert times(read(files.TRTEXEC)) == medians
    assert times(read(files.TRTEXEC, statistic="mean")) == averages
    assert times(read(files.OLD_TRTEXEC)) == averages
    assert {row.count for row in read(files.TRTEXEC).rows} == {200}
    with pytest.raises(InputError, match="medianMs' is missing"):
        read(files.OLD_TRTEXEC, statistic="median")
    with pytest.raises(InputError, match="no min"):
        read(files.TRTEXEC, statistic="min")


def test_tflite_gives_the_operators_in_their_order(read):
    """Initialization, sorted tables and summaries are passed over; names may hold commas."""
    profile = read(files.TFLITE)
    assert [row.kind for row in profile.rows] == [
        "QUANTIZE", "CONV_2D", "MAX_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE",
    ]  # fmt: skip
    assert profile.rows[3].name == "[model/layer1.0.conv1/Conv2D, model/side, model/other]:3"
    assert profile.rows[1].time_us == Fraction("302.5")
    assert profile.rows[4].time_us == 24  # 12 us, called twice in a run
    assert profile.rows[5].time_us == Fraction("0.4")
    assert "1 rows did not run every time" in profile.notes
    old = read(files.OLD_TFLITE)
    assert [row.time_us for row in old.rows] == [Fraction("302.5"), Fraction("201.7")]


def test_openvino_gives_what_was_executed(read):
    """Rows that were fused or left out have no time; a delimiter in a name stays in the name."""
    profile = read(files.OPENVINO)
    assert times(profile) == {
        "input_f32_abcd_u8_acdb_/conv1/Conv": 11, "/conv1/Conv": 120, "/maxpool/MaxPool": 20,
        "__module.layer1.0.conv1/aten::_convolution/Convolution": 90, "odd;name": 1, "fc_node": 34,
    }  # fmt: skip
    assert profile.total_us == 276  # the file's own total
    assert profile.rows[1].details["computed_in"] == "int8"
    python = files.OPENVINO.replace("EXECUTED", "Status.EXECUTED").replace("0.000;\n", "0.000\n")
    assert times(read(python)) == times(profile)


def test_several_tables_of_openvino_are_several_runs(read):
    """The detailed report has one table per run, of which the median, mean or minimum is taken."""
    runs = [120, 100, 500, 110, 130]
    content = "".join(files.OPENVINO.replace("0.120", f"{us / 1000:.3f}") for us in runs)
    assert times(read(content))["/conv1/Conv"] == statistics.median(runs)
    assert times(read(content, statistic="mean"))["/conv1/Conv"] == statistics.mean(runs)
    assert times(read(content, statistic="min"))["/conv1/Conv"] == min(runs)
    quartiles = statistics.quantiles(runs, n=4, method="inclusive")
    assert read(content).rows[1].spread_us == quartiles[2] - quartiles[0]
    with pytest.raises(InputError, match="averages alone"):
        read(files.OPENVINO, statistic="min")


def test_onnxruntime_leaves_out_warmup_and_fences(read):
    """The first run is one to warm up; the median of the others counts, fence rows never."""
    profile = read(files.ONNXRUNTIME)
    assert times(profile) == {"conv1": 42, "fc": 6}
    assert {row.count for row in profile.rows} == {3}
    assert times(read(files.ONNXRUNTIME, statistic="min")) == {"conv1": 40, "fc": 5}
    everything = read(files.ONNXRUNTIME, statistic="mean", warmup=0)
    assert times(everything)["conv1"] == Fraction(900 + 40 + 44 + 42, 4)
    with pytest.raises(InputError, match="4 runs to warm up of the 4"):
        read(files.ONNXRUNTIME, warmup=4)


def test_onnxruntime_on_a_gpu_times_launches(read):
    """Where kernels run behind the calls that start them, a note says what the times are of."""
    document = json.loads(files.ONNXRUNTIME.replace("CPUExecution", "CUDAExecution"))
    assert any("launching kernels" in note for note in read(json.dumps(document)).notes)
    assert not any("launching" in note for note in read(files.ONNXRUNTIME).notes)


def test_onnxruntime_runs_are_told_without_their_events(read):
    """Where no event says where a run begins, a row that comes back does; inner calls are summed."""
    bare = [e for e in json.loads(files.ONNXRUNTIME) if e["cat"] == "Node"]
    assert times(read(json.dumps(bare))) == {"conv1": 42, "fc": 6}
    twice = [files.node("step", us, ts) for us, ts in ((5, 110), (6, 120), (7, 1110), (8, 1120))]
    loop = files.node("loop", 100, 105, "Loop")
    document = [files.run(100, 800), files.run(1100, 800), *twice, loop]
    profile = read(json.dumps(document), statistic="mean", warmup=0)
    assert times(profile) == {"step": Fraction(5 + 6 + 7 + 8, 2)}
    assert any("Loop" in note for note in profile.notes)


CONV, NODE = files.TRTEXEC, files.node("a", 1, 1)
BROKEN = {
    "empty": ("", "the file is empty"),
    "blank": ("\n \n", "the file is empty"),
    "text": ("hello", "no profile of trtexec, onnxruntime, tflite, openvino"),
    "printed table": ("==== Run Order ====\n[node type]\t[start]\t[first]\t[avg ms]\n", "--profiling_output_csv_file"),
    "other json": ("[1]", "JSON, but no profile"),
    "empty list": ("[]", "JSON, but no profile"),
    "a dictionary": ("{}", "JSON, but no profile"),
    "target platform": (files.MCT, "target platform file of MCT"),
    "utf-16": (CONV.encode("utf-16"), "not UTF-8"),
    "latin-1": (CONV.replace("relu", "relü").encode("latin-1"), "not UTF-8"),
    "zero bytes": (CONV.replace("maxpool", "max\0pool"), r"line 5: a zero byte"),
    "unended list": (CONV.rstrip().rstrip("]"), "the list has no end"),
    "deep": ("[" * 100_000, "nested too deeply|not valid JSON"),
    "nan": (CONV.replace("0.0515", "NaN"), "NaN is not a number"),
    "infinite": (CONV.replace("0.0515", "Infinity"), "Infinity is not a number"),
    "overflow": (CONV.replace("0.0515", "1e999"), r"\[2\]\.medianMs: .*1e\+?999|1E\+999"),
    "exponent": (CONV.replace("0.0515", "1e99999999999999999999"), "out of range"),
    "gigantic": (CONV.replace("0.0515", "9" * 5000), "not valid JSON|out of range"),
    "negative": (CONV.replace("0.0515", "-0.0515"), r"\[2\]\.medianMs: must not be negative"),
    "text for number": (CONV.replace("0.0515", '"0.05"'), r"\[2\]\.medianMs: must be a number"),
    "number for name": (CONV.replace('"/maxpool/MaxPool"', "4"), r"\[3\]\.name: must be a string"),
    "duplicate key": (CONV.replace('"medianMs"', '"averageMs"'), "'averageMs' is given twice"),
    "no count": (json.dumps(json.loads(CONV)[1:]), "no profile|first row"),
    "zero runs": (CONV.replace("200", "0"), r"\[0\]\.count: must be at least 1"),
    "count alone": ('[{"count": 3}]', "no layer follows"),
    "row of a list": ('[{"count": 3}, []]', r"\[1\]: must be an object"),
    "no time at all": ('[{"count": 3}, {"name": "a", "averageMs": 0}]', "took any time"),
    "empty name": ('[{"count": 3}, {"name": "", "averageMs": 1}]', r"\[1\]: a row's name"),
    "sessions alone": (json.dumps([files.run(1, 2)]), "no event of category 'Node'"),
    "negative dur": (json.dumps([{**NODE, "dur": -1}]), r"\[0\]\.dur: must not be negative"),
    "text dur": (json.dumps([{**NODE, "dur": "5"}]), r"\[0\]\.dur: must be a number"),
    "no args": (json.dumps([{**NODE, "args": []}]), r"\[0\]\.args: must be an object"),
    "odd shape": (json.dumps([files.node("a", 1, 1, inputs=[["x"]])]), "must be an integer"),
    "no total": (files.OPENVINO.replace("Total", "Sum"), r"line 10: execStatus '' is unknown"),
    "cut table": (files.OPENVINO.partition("Total")[0], "without its row 'Total'"),
    "odd status": (files.OPENVINO.replace("EXECUTED", "EXECUTE"), "did you mean 'EXECUTED'"),
    "few cells": (files.OPENVINO.replace(";0.120;0.119", ""), "line 4: 6 cells expected, got 4"),
    "nameless row": (files.OPENVINO.replace("/maxpool/MaxPool", ""), "line 6: a row's name has 1"),
    "nan cell": (files.OPENVINO.replace("0.120", "nan"), "line 4: realTime .ms. must be finite"),
    "negative cell": (files.OPENVINO.replace("0.120", "-0.1"), "line 4: .* must not be negative"),
    "word cell": (files.OPENVINO.replace("0.120", "fast"), "line 4: .* must be a number, got 'fast'"),
    "huge cell": (files.OPENVINO.replace("0.120", "1e999999999999"), "line 4: "),
    "short row": (files.TFLITE.replace(", [tfl.quantize]:0", ""), "line 24: 8 cells expected, got 7"),
    "no operators": (files.TFLITE.partition("Operator-wise")[0], "no table 'Run Order' of the operators"),
    "no rows": (files.TFLITE.partition("QUANTIZE,")[0], "line 23: no row follows"),
    "odd calls": (files.TFLITE.replace("0, 2, [model/fc", "0, x, [model/fc"), "times called must be"),
    "column gone": (files.TFLITE.replace("times called", "calls"), "'times called' is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_explained_in_one_line(read, tmp_path, content, message):
    """Every broken profile raises one printable line that names the file, the place and the rule."""
    with pytest.raises(InputError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith(str(tmp_path / "profile"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_huge_files_and_pipes_are_refused_unread(tmp_path):
    """A file above the limit is refused by its size, and what is no file is never opened."""
    import os

    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(LARGEST_BYTES + 1)  # sparse: takes no space
    with pytest.raises(
        InputError, match=r"huge\.json: .* at most 64,000,000 bytes, got 64,000,001"
    ):
        read_profile(path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        read_profile(pipe)
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        read_profile(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_profile(tmp_path / "absent")


def test_unknown_options_are_named(read):
    """A mistyped format or statistic is told with the nearest name; warm-up needs single runs."""
    with pytest.raises(InputError, match="did you mean 'trtexec'"):
        read(files.TRTEXEC, "trtexe")
    with pytest.raises(InputError, match="did you mean 'median'"):
        read(files.TRTEXEC, statistic="medain")
    with pytest.raises(InputError, match="no single runs"):
        read(files.TRTEXEC, warmup=1)
