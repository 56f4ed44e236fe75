"""Run configurations: what is refused and how it is worded, and that the printed form reads back."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from bitwright.problems import InputError, Precision
from bitwright.problems.precision import LeastPrecision
from bitwright.quantization import TrainingRecipe
from bitwright.run_config import parse_run_config, read_run_config

CONFIGS = Path(__file__).parent.parent / "configs"


def document(**changes: Any) -> dict[str, Any]:
    """A complete small configuration; a change `verify__qat=...` goes to `verify.qat`."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "task": {"name": "digits"},
        "training": {"epochs": 1},
        "precisions": ["w4a8", "w8a8"],
        "costs": ["bitops"],
        "solutions": {"small": {"bitops": "50%"}},
        "front": {"cost": "bitops"},
        "calibration": {},
        "critical": {},
        "verify": {"qat": {"epochs": 1}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        home = plain
        for parent in parents:
            home = home[parent]
        home[last] = value
    return plain


def parse(**changes: Any):
    """Read that configuration as if it stood in /somewhere/run.yaml."""
    return parse_run_config(yaml.safe_dump(document(**changes)), "/somewhere/run.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeed": 1}, "unknown key 'seeed'; did you mean 'seed'?"),
        ({"calibration__batchs": 1}, "unknown key 'calibration.batchs'; did you mean 'batches'?"),
        ({"critical__topk": 1}, "unknown key 'critical.topk'; did you mean 'top_k'?"),
        ({"front__point": 1}, "unknown key 'front.point'; did you mean 'points'?"),
        ({"verify__seed": 1}, "unknown key 'verify.seed'; did you mean 'seeds'?"),
        ({"training__epoch": 1}, "training: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"verify__qat__warm": 1}, "verify.qat: unknown key 'warm'; did you mean 'warmup'?"),
        ({"task__nois": 0}, "task 'digits': unknown key 'nois'; did you mean 'noise'?"),
        ({"costs": [{"name": "latency_table", "fil": "x"}]}, "costs 'latency_table': unknown key 'fil'; did you mean 'file'?"),
        ({"costs": [{"name": "bitops", "x": 1}]}, "costs 'bitops': unknown key 'x'; none is known"),
        ({"significance": [{"name": "overall", "box": 1}]}, "significance 'overall': unknown key 'box'"),
        ({"solver": {"name": "ilp", "pulp_solvr": "x"}}, "solver 'ilp': unknown key 'pulp_solvr'; did you mean 'pulp_solver'?"),
    ],
)  # fmt: skip
def test_unknown_keys_are_refused_at_every_level(changes, message):
    """An unknown key, also among a plug-in's options, is answered with file, key and nearest key."""
    with pytest.raises(InputError) as error:
        parse(**changes)
    assert str(error.value).startswith(f"/somewhere/run.yaml: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "digitz"}, "unknown task 'digitz'; did you mean 'digits'?"),
        ({"costs": ["bitop"]}, "unknown cost model 'bitop'; did you mean 'bitops'?"),
        ({"significance": ["semantc"]}, "unknown significance measure 'semantc'; did you mean 'semantic'?"),
        ({"solver": "exakt"}, "unknown solver 'exakt'; did you mean 'exact'?"),
        ({"calibration__weight_rule": "msee"}, "calibration.weight_rule: weight rule 'msee' is unknown; did you mean 'mse'?"),
        ({"calibration__weight_rule": "percentile:20"}, "calibration.weight_rule: weight rule 'percentile:20': the percentile must be a number from 50 to 100, got '20'"),
        ({"calibration__activation_rule": "percentle:99"}, "calibration.activation_rule: activation rule 'percentle:99' is unknown; did you mean 'percentile'?"),
        ({"calibration__weight_scheme": "affin"}, "calibration.weight_scheme: input should be 'symmetric' or 'affine', got 'affin'"),
        ({"calibration__weight_granularity": "group:0"}, "calibration.weight_granularity: weight_granularity 'group:0' must be 'tensor', 'channel', or the channels of a group, such as 'group:16'"),
        ({"calibration__activation_scheme": "afine"}, "calibration.activation_scheme: input should be 'affine' or 'symmetric', got 'afine'"),
        ({"calibration__activation_ranges": "dynmic"}, "calibration.activation_ranges: input should be 'static' or 'dynamic', got 'dynmic'"),
        ({"calibration__fold_batch_norms": "maybe"}, "calibration.fold_batch_norms: input should be a valid boolean"),
        ({"variants": {"hybrid": "chioce"}}, "variants.hybrid: input should be 'off', 'auto' or 'choice', got 'chioce'"),
        ({"variants": {"svd": [2]}}, "variants.svd.0: input should be less than or equal to 1, got 2"),
        ({"variants": {"svdd": []}}, "unknown key 'variants.svdd'; did you mean 'svd'?"),
        ({"verify__qat__estimator": "lsqq"}, "verify.qat: estimator 'lsqq' is unknown; did you mean 'lsq'?"),
        ({"verify__qat__distilation": 0.5}, "verify.qat: unknown key 'distilation'; did you mean 'distillation'?"),
        ({"verify__qat__distillation": 2}, "verify.qat: distillation must be from 0 to 1, got 2"),
        ({"verify__qat__batch_norm_reestimation": -1}, "verify.qat: batch_norm_reestimation must be an integer of at least 0, got -1"),
        ({"verify__qat__mixed_precision": "bf6"}, "verify.qat: mixed_precision: input should be 'bf16' or 'fp16', got 'bf6'"),
        ({"verify__qat__weight_average": 1}, "verify.qat: weight_average must be above 0 and below 1, got 1"),
        ({"precisions": "w4a8"}, "precisions: must be a list, got 'w4a8'"),
        ({"precisions": ["w4"]}, "precisions.0: a precision is written like 'w4a8' or 'w16a16-float', got 'w4'"),
        ({"precisions": [8]}, "precisions.0: a precision is written like 'w4a8' or 'w16a16-float', got 8"),
        ({"precisions": ["w0a8"]}, "precisions.0: weight_bits must be an integer from 1 to 32, got 0"),
        ({"precisions": ["w4a8", "w8a8", "w4a8"]}, "precisions: w4a8 is given twice"),
        ({"precisions": []}, "precisions: must hold one entry or more, got []"),
        ({"pins": {"first": "8"}}, "pins.first: a precision is written like"),
        ({"pins": {"first": ">=w8"}}, "pins.first: a precision is written like"),
        ({"ties": ["hawq"]}, "ties.0: unknown rule 'hawq'; did you mean 'hawq_v3'?"),
        ({"verify__uniform": ["w5a8"]}, "verify.uniform: 'w5a8' is not among the precisions; did you mean 'w8a8'?"),
        ({"verify__seeds": [1, 1]}, "verify.seeds: 1 is given twice"),
        ({"verify__seeds": [-1]}, "verify.seeds.0: input should be greater than or equal to 0, got -1"),
        ({"significance": ["overall", "overall"]}, "significance: overall is given twice"),
        ({"solutions": {"x": {"bitops": "lots"}}}, "solutions.x: budget 'bitops' must be a number, a number with a unit, or a share such as 50%, got 'lots'"),
        ({"solutions": {"x": {"bitops": True}}}, "solutions.x: budget 'bitops' must be a number, got True"),
        ({"solutions": {"x": {"bitops": None}}}, "solutions.x: budget 'bitops' must be a number, got None"),
        ({"solutions": {"x": {"bitops": "101%"}}}, "solutions.x: budget 'bitops': a share must be from 0% to 100%, got 101%"),
        ({"solutions": {"../x": {}}}, "solutions: '../x' must be a plain name"),
        ({"name": "../x"}, "name: must be a plain name: letters, digits"),
        ({"name": ".."}, "name: must be a plain name: letters, digits"),
        ({"name": "a/b"}, "name: must be a plain name: letters, digits"),
        ({"seed": True}, "seed: input should be a valid integer, got True"),
        ({"seed": 2**64}, "seed: input should be less than 9223372036854775808"),
        ({"training": None}, "training: must be a mapping of the recipe's settings"),
        ({"training": {}}, "training: key 'epochs' is missing"),
        ({"verify__qat": {"epochs": 0}}, "verify.qat: epochs must be an integer of at least 1, got 0"),
        ({"training__schedule": "step"}, "training: schedule: input should be 'one_cycle', 'cosine' or 'constant', got 'step'"),
        ({"task__noise": "loud"}, "task 'digits': noise: input should be a valid number, unable to parse string as a number, got 'loud'"),
        ({"task": {}}, "key 'task.name' is missing"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(changes, message):
    """A bad name, precision, budget or number is answered with file, key, rule and value."""
    with pytest.raises(InputError) as error:
        parse(**changes)
    assert str(error.value).startswith(f"/somewhere/run.yaml: {message}")


@pytest.mark.parametrize("key", ["name", "task", "training", "precisions", "costs", "front"])
def test_missing_keys_are_named(key):
    """What has no default must be given."""
    plain = document()
    del plain[key]
    with pytest.raises(InputError, match=f"^f: key '{key}' is missing$"):
        parse_run_config(yaml.safe_dump(plain), "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nseed: 1\nname: y", r"line 3: key 'name' is given twice"),
        ("name: x\ntask:\n  name: a\n  name: b", r"line 4: key 'name' is given twice"),
        ("", "a run configuration is a mapping of keys, got NoneType"),
        ("- a", "a run configuration is a mapping of keys, got list"),
        ("name: x\n  y: z", r"not valid YAML: line 2: mapping values are not allowed here"),
        ("a: [1", r"not valid YAML: line 1: "),
        ("a: 1\n---\nb: 2", r"not valid YAML: line 2: but found another document"),
        ("a: 2024-13-01", r"not valid YAML: month must be in 1\.\.12"),
        ("name: !!python/object/apply:os.getcwd []", "not valid YAML: line 1: could not determine a constructor for the tag .*python/object"),
        ("name: x\nno: 1", r"line 2: a key must be text, got False"),
        ("a: &a [*a]", "line 1: an alias stands inside itself"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(text, message):
    """Broken YAML, repeated keys, Python tags and endless nesting are one line with the line's number."""
    with pytest.raises(InputError, match=f"^f: {message}"):
        parse_run_config(text, "f")


def test_an_unset_variable_is_named_with_its_place(monkeypatch):
    """A variable that is not set is refused with its place and the nearest one that is."""
    monkeypatch.setenv("BITWRIGHT_DATA", "/data")
    with pytest.raises(InputError, match=r"^/somewhere/run.yaml: task\.widths\[0\]: environment variable 'BITWRIGHT_DATE' is not set; did you mean 'BITWRIGHT_DATA'"):  # fmt: skip
        parse(task={"name": "digits", "widths": ["${BITWRIGHT_DATE}"]})


def test_variables_and_paths(tmp_path, monkeypatch):
    """Relative paths are anchored at the file, those of a variable at the working directory."""
    (tmp_path / "here").mkdir()
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITWRIGHT_DATA", "here")
    file = tmp_path / "conf" / "run.yaml"
    for given, meant in (
        ("pictures", tmp_path / "conf" / "pictures"),
        ("../pictures", tmp_path / "conf" / "../pictures"),
        ("/pictures", Path("/pictures")),
        ("${BITWRIGHT_DATA}/x", tmp_path / "here" / "x"),
    ):
        file.write_text(yaml.safe_dump(document(task={"name": "image_folder", "folder": given})))
        assert read_run_config("conf/run.yaml").task.options["folder"] == meant


def test_the_printed_form_reads_back(tmp_path):
    """The document with every default is itself a valid configuration, from any folder, and equal."""
    config = read_run_config(CONFIGS / "digits.yaml")
    printed = yaml.safe_dump(config.document(), sort_keys=False)
    again = parse_run_config(printed, str(tmp_path / "elsewhere.yaml"))
    assert again == config
    assert again.document() == config.document()
    assert {"solver: null", "clean_up: true", "  top_k: null"} <= set(printed.splitlines())


def test_overrides_replace_and_are_checked():
    """Seed and name from the command line replace the file's; None keeps them; both are checked."""
    config = read_run_config(CONFIGS / "digits.yaml", seed=7, name=None)
    assert (config.seed, config.name) == (7, "digits")
    with pytest.raises(InputError, match=r"digits.yaml: name: .*got '\.\./x'"):
        read_run_config(CONFIGS / "digits.yaml", name="../x")


def test_results_follow_from_all_but_the_number_of_jobs():
    """How many measurements run at a time changes no result and redoes nothing; other settings do."""
    one, many, other = (
        parse(**{f"verify__{key}": value})
        for key, value in (("jobs", 1), ("jobs", 4), ("seeds", [3]))
    )
    assert (one.verify.jobs, many.verify.jobs) == (1, 4)
    assert one.identity() == many.identity() != other.identity()
    assert many.document()["verify"]["jobs"] == 4


def test_a_merge_key_is_no_repeated_key():
    """YAML's `<<` takes over keys, and those beside it win."""
    text = yaml.safe_dump(document()) + "task: &t {name: digits, noise: 0.5}\n"
    text = text.replace("task:\n  name: digits\n", "").replace("critical: {}", "critical: {<<: {top_k: 3}, threshold: 0.5}")  # fmt: skip
    config = parse_run_config(text, "f")
    assert (config.critical.top_k, config.critical.threshold) == (3, 0.5)


def test_the_runs_that_come_with_it_parse(tmp_path, monkeypatch):
    """Both configurations of `configs/` are valid, the second with its data at hand."""
    digits = read_run_config(CONFIGS / "digits.yaml")
    assert digits.costs[2].options["file"] == CONFIGS / "digits_x86_latency.csv"
    monkeypatch.setenv("BITWRIGHT_DATA", str(tmp_path))
    for label in ("car", "truck"):
        (tmp_path / "tiny_vehicles" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "tiny_vehicles" / label / "0.png")
    vehicles = read_run_config(CONFIGS / "tiny_vehicles.yaml")
    assert vehicles.task.options["folder"] == tmp_path / "tiny_vehicles"
    assert vehicles.pins == {"first": Precision(8, 8)}


def test_every_option_is_read():
    """Calibration, variants, ties, least pins and every setting of QAT come out as they were written."""
    calibration = {
        "weight_rule": "percentile:99.9", "activation_rule": "aciq_laplace", "weight_scheme": "affine",
        "weight_granularity": "group:4", "activation_scheme": "symmetric",
        "activation_ranges": "dynamic", "fold_batch_norms": True, "batches": 3, "batch_size": 7,
    }  # fmt: skip
    qat = {
        "epochs": 2, "batch_size": 8, "learning_rate": 0.5, "weight_decay": 0.1, "optimizer": "sgd",
        "schedule": "constant", "warmup": 0.5, "gradient_clip_norm": 2.0, "estimator": "lsq+",
        "step_learning_rate": 0.25, "alpha_start": 0.1, "alpha_end": 0.9, "dampening": 0.3,
        "weight_average": 0.5, "batch_norm_reestimation": 4, "distillation": 0.75,
        "distillation_temperature": 3.0, "float_distance": 0.25, "early_stop_patience": 5, "mixed_precision": "bf16",
        "channels_last": True,
    }  # fmt: skip
    assert qat.keys() == {field.name for field in fields(TrainingRecipe)}
    config = parse(
        calibration=calibration,
        variants={"hybrid": "choice", "svd": [0.5, 1]},
        ties=["addition", "hawq_v3"],
        pins={"first": ">=w8a8", "last": "w8a8"},
        verify__qat=qat,
    )
    assert config.document()["calibration"] == calibration
    assert asdict(config.verify.qat) == qat
    assert (config.variants.hybrid, config.variants.svd) == ("choice", (0.5, 1.0))
    assert config.ties == ("addition", "hawq_v3")
    assert config.pins == {"first": LeastPrecision(Precision(8, 8)), "last": Precision(8, 8)}
    printed = yaml.safe_dump(config.document())
    assert parse_run_config(printed, "/somewhere/run.yaml") == config


@pytest.mark.parametrize(
    ("name", "message"), [("x.yaml", "no such file"), (".", "cannot be read: Is a directory")]
)
def test_unreadable_files_are_named(tmp_path, name, message):
    """A file that is not there, or is a folder, is one line with its path."""
    with pytest.raises(InputError, match=message):
        read_run_config(tmp_path / name)


@pytest.mark.parametrize(
    ("hybrid", "read"), [("off", "off"), ("auto", "auto"), ("'choice'", "choice")]
)
def test_a_bare_off_is_no_boolean(hybrid, read):
    """YAML 1.1 reads `off` as false; the setting means the word."""
    text = yaml.safe_dump(document()) + f"variants: {{hybrid: {hybrid}, svd: [0.5]}}\n"
    config = parse_run_config(text, "/somewhere/run.yaml")
    assert (config.variants.hybrid, config.variants.svd) == (read, (0.5,))
    again = parse_run_config(yaml.safe_dump(config.document()), "/somewhere/run.yaml")
    assert again.variants == config.variants
