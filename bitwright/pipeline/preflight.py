"""What would make a later stage fail, found before the first one: hours of training are not for a typo."""

from __future__ import annotations

from bitwright.pipeline.solving import assemble
from bitwright.pipeline.work import Work
from bitwright.problems.errors import InputError, nearest
from bitwright.quantization import require_quantizable
from bitwright.significance import given_classes


def check(work: Work) -> None:
    """Raise `InputError` for pins, plug-ins, costs and classes that a later stage would refuse."""
    config = work.config
    network = work.read_network().description
    for section in config.significance:
        work.plugin("significance", section)
    if config.solver is not None:
        work.plugin("solvers", config.solver)
    for layer, offered in work.candidates_in(network).items():
        for precision in offered:
            require_quantizable(layer, precision)
    problem = assemble(work, network, lambda *_: 0.0)
    asked = [("front", config.front.cost)]
    asked += [(f"solutions.{name}", cost) for name, s in config.solutions.items() for cost in s]
    for place, cost in asked:
        if cost not in problem.cost_names:
            raise InputError(f"{place}: unknown cost {cost!r}; {nearest(cost, problem.cost_names)}")
    if config.critical.classes is not None:
        given_classes(config.critical.classes, work.task.classes)
