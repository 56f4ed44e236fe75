"""Solvers of the allocation problem and the one door to them, which recomputes every answer.

    from bitwright.search.door import front, solve

This room knows nothing of networks or training: it takes an `AllocationProblem` and gives back a
`Solution` or a `ParetoFront`. Importing the door loads numpy alone.
"""
