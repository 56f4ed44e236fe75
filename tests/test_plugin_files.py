"""Plug-ins from a user's own file: loaded by `FILE.py:CLASS`, refused in one line, told apart by content."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import yaml

from bitwright import api, plugins
from bitwright.pipeline.folder import digest_of_file
from bitwright.problems import InputError, LayerDescription, Precision
from bitwright.run_config import parse_run_config

from .pipeline.tiny_run import settings
from .test_plugins import OUTSIDER

ENERGY = '''
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Energy:
    """Energy of fetching the weights, in microjoule."""

    picojoule_per_bit: float = 5.0
    name: str = "energy_uj"

    def cost(self, layer, precision):
        return layer.parameters * precision.weight_bits * self.picojoule_per_bit * 1e-6

    def fixed_cost(self, network):
        return 0

class Nameless:
    def cost(self, layer, precision):
        return 0

class Nothing:
    pass

class Half:
    name = "energy_uj"

    def cost(self, layer, precision):
        return 0

class Failing(Energy):
    def __init__(self, volts: float = 0.0):
        self.amps = 1 / volts
'''
LAYER = LayerDescription("fc", "Linear", 1_000_000, 1_000_000, (1, 1000), (1, 1000))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_costs.py"
    path.write_text(ENERGY, encoding="utf-8")
    return path


def test_a_class_of_a_file_is_a_plugin_with_options(file):
    """Options are those of its constructor, checked as for any other, and the class pickles."""
    model = plugins.create("cost_models", f"{file}:Energy", {"picojoule_per_bit": "3"})
    assert model.cost(LAYER, Precision(4, 8)) == pytest.approx(4 * 3.0)  # 10^6 weights, 10^-6
    assert pickle.loads(pickle.dumps(model)) == model
    with pytest.raises(InputError, match=r"my_costs.py:Energy'.*'picojoule'; did you mean 'pico"):
        plugins.create("cost_models", f"{file}:Energy", {"picojoule": 3})


def test_an_edited_file_is_run_anew(file):
    """The second look at a file that changed in between finds the new class."""
    before = plugins.create("cost_models", f"{file}:Energy")
    again = plugins.create("cost_models", f"{file}:Energy")
    assert type(again) is type(before)  # unchanged: run once
    file.write_text(ENERGY.replace("5.0", "7.0"), encoding="utf-8")
    assert plugins.create("cost_models", f"{file}:Energy").picojoule_per_bit == 7.0


def test_only_that_file_is_run(file):
    """What stands beside it is not imported, and its folder is no place to import from."""
    (file.parent / "beside_my_costs.py").write_text("raise RuntimeError", encoding="utf-8")
    path = list(sys.path)
    plugins.load("cost_models", f"{file}:Energy")
    assert sys.path == path
    assert "beside_my_costs" not in sys.modules


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (ENERGY, "my_csts.py:Energy", r"my_csts.py: no such file; did you mean 'my_costs.py'\?"),
        (ENERGY, "my_costs.py:Enrgy", r"my_costs.py: has no class 'Enrgy'; did you mean 'Energy'\?"),
        (ENERGY, "my_costs.py:dataclass", "my_costs.py: has no class 'dataclass'"),
        (ENERGY, "my_costs.py:Nothing", "'Nothing' is no cost model: it has no method 'cost' or"),
        (ENERGY, "my_costs.py:Nameless", "a cost model needs a `name` that carries its unit"),
        (ENERGY, "my_costs.py:Half", "class 'Half' has no method 'fixed_cost'"),
        (ENERGY, "my_costs.py:Failing", "cannot be made: ZeroDivisionError: float division by zero"),
        ("x = 1\ny = x / 0\n", "my_costs.py:Energy", r"my_costs.py, line 2: ZeroDivisionError: "),
        ("class :\n", "my_costs.py:Energy", r"my_costs.py: SyntaxError: .*line 1"),
        ("import sys\nsys.exit(3)\n", "my_costs.py:Energy", r"my_costs.py, line 2: SystemExit: 3"),
        (ENERGY, "my_costs.py", r"my_costs.py': the class is named behind the file: .*my_costs.py:CLASS"),
        ("import no_such_lib\n", "my_costs.py:Energy", r"line 1: ModuleNotFoundError: .*no_such_lib"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(file, text, name, message):
    """A missing file or class, a file that fails, and a class that is none of the kind are named."""
    file.write_text(text, encoding="utf-8")
    for _ in range(2):  # a file that failed is not taken for loaded the second time
        with pytest.raises((InputError, plugins.PluginError), match=message) as error:
            plugins.create("cost_models", str(file.parent / name))
    assert "\n" not in str(error.value)


def test_texts_with_options():
    """Names, files of classes and tables are told apart; options follow behind colons."""
    parse = plugins.parse
    assert parse("cost_models", "bitops") == ("bitops", {})
    assert parse("cost_models", "a/b.py:C:x=1:y=z") == ("a/b.py:C", {"x": "1", "y": "z"})
    assert parse("cost_models", "t.csv") == ("latency_table", {"file": "t.csv"})
    assert parse("solvers", "t.csv") == ("t.csv", {})
    with pytest.raises(InputError, match="'x' is given twice"):
        parse("cost_models", "a.py:C:x=1:x=2")


def test_a_solver_of_a_file_answers(tmp_path):
    """The same door serves the other kinds: a solver of a file solves, its answer judged as any other."""
    file = tmp_path / "mine.py"
    file.write_text(OUTSIDER, encoding="utf-8")
    problem = Path(__file__).parent.parent / "configs/resnet18_t4.json"
    solution = api.solve(problem, solver=f"{file}:Cheapest:cost=latency_ms")
    cheapest = api.read_problem(problem)
    least = sum(min(choice.costs["latency_ms"] for choice in layer.choices) for layer in cheapest)
    assert float(solution.costs["latency_ms"]) == pytest.approx(
        least + float(cheapest.fixed_costs.get("latency_ms", 0))
    )
    file.write_text(ENERGY, encoding="utf-8")
    with pytest.raises(InputError, match="class 'Energy' is no solver: it has no method 'solve'"):
        api.solve(problem, solver=f"{file}:Energy")


def configured(file, name="my_costs.py:Energy"):
    """A run configuration beside the file that names it relatively."""
    text = yaml.safe_dump(settings(costs=["size_bits", {"name": name, "picojoule_per_bit": 3}]))
    return parse_run_config(text, str(file.parent / "run.yaml"))


def test_a_run_configuration_finds_the_file_beside_it(file):
    """The path is seen from the configuration's folder, and the printed form reads back the same."""
    config = configured(file)
    section = config.costs[1]
    assert section.name == f"{file}:Energy"
    assert section.options == {"picojoule_per_bit": 3.0}
    again = parse_run_config(yaml.safe_dump(config.document()), "/elsewhere/config.yaml")
    assert again == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_the_file_counts_by_what_it_holds(file, tmp_path_factory):
    """A copied folder has the same identity; the file is among those whose digests a stage names."""
    elsewhere = tmp_path_factory.mktemp("copy") / "my_costs.py"
    elsewhere.write_bytes(file.read_bytes())
    ours, theirs = configured(file), configured(elsewhere)
    assert ours.identity() == theirs.identity()
    assert ours.files(("costs",)) == [Path(file)]
    before = digest_of_file(ours.files(("costs",))[0])
    file.write_text(ENERGY + "\n# edited\n", encoding="utf-8")
    assert digest_of_file(ours.files(("costs",))[0]) != before


def test_a_dataclass_option_named_name_is_the_models(file):
    """A constructor argument `name` cannot be given in a configuration, where `name` is the class."""
    section = configured(file).costs[1]
    assert plugins.create("cost_models", section.name, section.options).name == "energy_uj"
