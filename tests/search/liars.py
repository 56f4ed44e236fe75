"""Solvers that do not tell the truth, or not all of it."""

import numpy as np

from bitwright.problems.protocols import Proposal, SolverTraits


class Says:
    """A solver that proposes what it was made with."""

    def __init__(self, selection, *, complete=True, bound=-np.inf, explanation=None, **traits):
        self.name = "says"
        self.traits = SolverTraits(**{"exact": True, **traits})
        chosen = None if selection is None else np.asarray(selection)
        self._proposal = Proposal(chosen, complete, bound, explanation)

    def solve(self, problem, session):
        return self._proposal
