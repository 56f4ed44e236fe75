"""A run improves its post-training quantization by the steps that it names."""

import pytest

from bitwright.pipeline.evaluating import evaluate
from bitwright.pipeline.stages import carry_out
from bitwright.pipeline.work import open_run
from bitwright.problems.configuration import BitConfiguration
from bitwright.problems.errors import InputError
from bitwright.problems.formats import read_verified
from bitwright.problems.precision import Precision
from bitwright.progress import Reporter
from bitwright.quantization import post_training, quantized_copy
from tests.pipeline.tiny_run import config

STEPS = ["fold", "adaround"]


def test_the_steps_are_those_of_the_library_and_help(tmp_path):
    """PTQ is measured after the named steps, as the library does them, and loses less at 2 bits."""
    verify = {"front_points": 0, "solutions": False, "uniform": ["w2a8"], "post_training": STEPS}
    carry_out(config(verify=verify), tmp_path, Reporter(quiet=True))
    work = open_run(tmp_path / "tiny", Reporter(quiet=True))
    (point,) = read_verified(tmp_path / "tiny/verified.json").points
    uniform = BitConfiguration.uniform(work.network.names, Precision(2, 8))
    assert point.configuration == uniform
    prepared = post_training(
        work.float_model(),
        work.read_network(),
        uniform,
        list(work.calibration_inputs()),
        steps=STEPS,
    )
    plain = quantized_copy(work.float_model(), uniform, work.calibration)
    assert point.ptq.metrics == evaluate(prepared, work.task, "test").quality.metrics
    loss_of_plain = evaluate(plain, work.task, "score").losses["classification"].mean()
    loss_of_float = evaluate(work.float_model(), work.task, "score").losses["classification"].mean()
    assert point.measured_loss["overall"] < loss_of_plain - loss_of_float


def test_an_unknown_step_is_refused():
    """A step that is none is named, with the nearest one."""
    with pytest.raises(InputError, match=r"verify.post_training.*'adaroun'.*'adaround'"):
        config(verify={"post_training": ["adaroun"]})
