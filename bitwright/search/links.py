"""What links groups beyond their own rows: ties of one side, and pairwise terms of one cost."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from bitwright.problems.problem import AllocationProblem
from bitwright.search.reduction import Groups

Known = dict[tuple[str, int], int]
"""What is known of earlier groups: the bits that tie number t has come to, ("tie", t), and the
position of the choice that layer number i has taken, ("layer", i)."""


class Links:
    """The links that bear on one cost, seen from the groups that tied layers were merged into."""

    def __init__(self, problem: AllocationProblem, groups: Groups, cost: str) -> None:
        self._problem, self._rows, self._cost = problem, groups, cost
        self._column = problem.costs[cost]
        self._ties = [tie for tie in problem.ties if tie.side != "all"]
        self._terms = [
            (problem.index[term.layers[0]], problem.index[term.layers[1]], term.costs[cost])
            for term in problem.interactions
            if cost in term.costs
        ]
        of_layer = groups.group_of_layer
        self._tied = [{int(of_layer[problem.index[n]]) for n in tie.layers} for tie in self._ties]
        self._paired = [{int(of_layer[a]), int(of_layer[b])} for a, b, _ in self._terms]

    @property
    def groups(self) -> list[list[int]]:
        """The groups that each link holds together."""
        return [sorted(linked) for linked in (*self._tied, *self._paired)]

    def layers_of(self, groups: list[int]) -> list[str]:
        """Names of the layers of some groups."""
        of_layer = self._rows.group_of_layer.tolist()
        return [n for n, g in zip(self._problem.layers, of_layer, strict=True) if g in groups]

    def last_use(self, members: list[int]) -> dict[tuple[str, int], int]:
        """For everything that may be known, the place of the last group that asks for it."""
        place = {group: k for k, group in enumerate(members)}
        last: dict[tuple[str, int], int] = {}
        for t, linked in enumerate(self._tied):
            last["tie", t] = max(place.get(g, -1) for g in linked)
        for (a, b, _), linked in zip(self._terms, self._paired, strict=True):
            for layer in (a, b):
                use = max(place.get(g, -1) for g in linked)
                last["layer", layer] = max(last.get(("layer", layer), -1), use)
        return last

    def extensions(self, known: Known, group: int) -> Iterator[tuple[Known, Fraction]]:
        """The group's rows that agree with what is known: what is known then, and what they add.

        A pairwise term is added by the later of its two groups.
        """
        units, scale = self._rows.costs[self._cost], 10**self._column.digits
        ties = [t for t, linked in enumerate(self._tied) if group in linked]
        terms = [k for k, linked in enumerate(self._paired) if group == max(linked)]
        layers = {
            i for a, b, _ in self._terms for i in (a, b) if self._rows.group_of_layer[i] == group
        }
        for row in range(int(self._rows.start[group]), int(self._rows.start[group + 1])):
            notes = {("tie", t): self._tied_bits(t, row) for t in ties}
            notes |= {("layer", i): self._position(i, row) for i in layers}
            if all(known.get(name, note) == note for name, note in notes.items()):
                now = {**known, **notes}
                added = Fraction(int(units[row]), scale)
                for a, b, matrix in (self._terms[k] for k in terms):
                    added += matrix[now["layer", a]][now["layer", b]]
                yield now, added

    def _tied_bits(self, tie: int, row: int) -> int:
        choice = self._rows.members[self._rows.member_start[row]]
        bits = (
            self._problem.weight_bits
            if self._ties[tie].side == "weight"
            else self._problem.activation_bits
        )
        return int(bits[choice])

    def _position(self, layer: int, row: int) -> int:
        """Which of its choices a layer takes in a row of its group."""
        choice = self._rows.members[self._rows.member_start[row] + self._rows.place_in_group[layer]]
        return int(choice - self._problem.choice_start[layer])
