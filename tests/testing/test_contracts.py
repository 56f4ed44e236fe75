"""The contracts catch solvers and cost models that break them, and their known cases are right."""

import dataclasses

import numpy as np
import pytest

from bitwright.problems.errors import InputError, UntrueAnswerError
from bitwright.problems.precision import Precision
from bitwright.problems.protocols import Proposal, SolverTraits
from bitwright.testing.brute_force import brute_force, brute_force_front
from bitwright.testing.cost_model_contract import NETWORK, CostModelContract
from bitwright.testing.known_cases import KNOWN_CASES
from bitwright.testing.solver_contract import SolverContract

CASES = {case.name: case for case in KNOWN_CASES}


@pytest.mark.parametrize("case", KNOWN_CASES, ids=lambda case: case.name)
def test_published_answers_are_what_they_say(case):
    """Published bits have the published loss and meet the budgets; others are small enough to try."""
    problem = case.problem
    if not case.published_bits:
        assert np.prod(np.diff(problem.choice_start).astype(float)) <= 1000
        return
    wanted = dict(zip(problem.layers, case.published_bits, strict=True))
    selection = np.array(
        [next(j for j in problem.span(n) if problem.weight_bits[j] == b) for n, b in wanted.items()]
    )
    evaluation = problem.evaluate(selection)
    assert evaluation.loss == pytest.approx(case.published_loss, abs=case.tolerance)
    assert evaluation.over_budget(problem.budgets) == {}
    assert problem.broken_ties(selection) == []


def test_brute_force_on_the_toy():
    """The toy's optimum by hand: choices 2, 1, 0, cost 6, loss 9."""
    problem = CASES["toy"].problem
    best = brute_force(problem)
    assert best.selection.tolist() == [2, 4, 6]
    assert (best.loss, best.evaluation.costs["size_bits"]) == (9, 6)
    assert brute_force_front(problem, "size_bits")[-1] == (6, 9)


TRAITS = SolverTraits(exact=True, several_budgets=True)


@dataclasses.dataclass
class Stubborn:
    """Takes the same position in every layer, and says that no loss is lower than that."""

    position: int
    name: str = "stubborn"
    traits: SolverTraits = TRAITS

    def solve(self, problem, session):
        ends = problem.choice_start[1:] - 1
        taken = np.minimum(problem.choice_start[:-1] + self.position, ends)
        return Proposal(taken, complete=True, lower_bound=problem.evaluate(taken).loss)


def test_a_wrong_optimum_is_caught():
    """The cheapest choices everywhere hold every budget, but are no optimum."""
    contract, case = SolverContract(), CASES["toy"]
    contract.test_budgets_and_ties_hold(Stubborn(0), case)
    with pytest.raises(AssertionError):
        contract.test_optimum(Stubborn(0), case)
    with pytest.raises(AssertionError):
        contract.test_status_is_true(Stubborn(0), case)


def test_a_broken_budget_is_caught():
    """The dearest choices everywhere break the budget; the door says so."""
    with pytest.raises(UntrueAnswerError, match="'stubborn' broke budget 'size_bits'"):
        SolverContract().test_budgets_and_ties_hold(Stubborn(2), CASES["toy"])


def test_a_solver_of_chance_is_caught():
    """A solver that draws from elsewhere than the session gives other answers for one seed."""

    class Moody(Stubborn):
        def solve(self, problem, session):
            self.position += 1
            return super().solve(problem, session)

    with pytest.raises(AssertionError):
        SolverContract().test_same_seed_same_answer(Moody(-1), CASES["no budget"])


def test_cases_are_skipped_by_traits_only():
    """A solver without a trait skips what needs it and nothing else."""
    simple = [case.name for case in KNOWN_CASES if case.suits(SolverTraits())]
    assert "toy" in simple
    assert not {"two budgets", "pairwise terms", "peak", "tie of weight bits"} & set(simple)
    everything = SolverTraits(several_budgets=True, pairwise=True, side_ties=True, peaks=True)
    assert all(case.suits(everything) for case in KNOWN_CASES)


class WeightBits:
    """Bits of the weights."""

    name = "size_bits"

    def cost(self, layer, precision):
        return layer.parameters * precision.weight_bits

    def fixed_cost(self, network):
        return 0


class TestCostModelContract(CostModelContract):
    """A model by formula keeps the contract."""

    @pytest.fixture
    def cost_model(self):
        return WeightBits()


def test_cost_model_contract_catches():
    """Names without a unit, negative costs and nameless refusals are caught."""

    class Bad(WeightBits):
        name = "size"

        def cost(self, layer, precision):
            if layer.name == "no-such-layer":
                raise InputError("unknown")
            return -1.0

    contract = CostModelContract()
    with pytest.raises(AssertionError):
        contract.test_name_carries_a_unit(Bad())
    with pytest.raises(AssertionError):
        contract.test_costs_are_finite_and_not_negative(Bad(), NETWORK, (Precision(4, 8),))
    with pytest.raises(AssertionError):
        contract.test_unknown_layer_is_refused_by_name_or_costed(Bad(), (Precision(4, 8),))
