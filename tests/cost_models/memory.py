"""The memory of a run, watched at torch's dispatcher, as an independent truth for peaks.

Nothing here knows of the graph that `bitwright.networks` records: what is seen are the kernels that
run, the pieces of memory that they touch, and which layer module is at work.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bitwright.networks.tensors import tensors_in

LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
FUSED = ("batch_norm", "relu", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "tanh")  # fmt: skip


@dataclass
class Kernel:
    """One call: which memories it reads and makes, and whether it writes over what it reads."""

    name: str
    layer: str | None
    call: int
    reads: set[int]
    makes: set[int] = field(default_factory=set)
    writes: bool = False

    @property
    def written(self):
        return self.makes | (self.reads if self.writes else set())

    @property
    def is_view(self):
        return not (self.written or self.layer)


class Watch(TorchDispatchMode):
    """Writes down every kernel of one run; tensors are held, so that no address is used twice."""

    def __init__(self, model):
        super().__init__()
        self.kernels, self.elements, self._held = [], {}, []
        self._constants = {memory_of(t) for t in (*model.parameters(), *model.buffers())}
        self._layer, self._call = None, 0

    def run(self, model, inputs):
        handles = []
        for name, module in model.named_modules():
            if isinstance(module, LAYERS):
                handles += [
                    module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)),
                    module.register_forward_hook(lambda *_: self._enter(None)),
                ]
        self.inputs = {memory_of(t) for t in tensors_in(inputs)}
        self.elements |= {memory_of(t): elements_of(t) for t in tensors_in(inputs)}
        with torch.no_grad(), self:
            outputs = model(*inputs)
        for handle in handles:
            handle.remove()
        self.outputs = {memory_of(t) for t in tensors_in(outputs)}
        return self

    def _enter(self, name):
        self._layer, self._call = name, self._call + 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self._held.append((args, kwargs, result))
        read = {memory_of(t) for t in tensors_in((args, kwargs)) if t.numel()}
        reads = {m for m in read if m in self.elements}
        kernel = Kernel(func.__name__, self._layer, self._call, reads)
        if reads:  # what comes from constants alone is one
            kernel.writes = func._schema.is_mutable
            for tensor in tensors_in(result):
                memory = memory_of(tensor)
                if memory not in self.elements and memory not in self._constants and tensor.numel():
                    self.elements[memory] = elements_of(tensor)
                    kernel.makes.add(memory)
            self.kernels.append(kernel)
        return result


def memory_of(tensor):
    return tensor.untyped_storage().data_ptr()


def elements_of(tensor):
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def merged_layers(kernels):
    """The kernels of one call of a layer as one."""
    merged = []
    for kernel in kernels:
        last = merged[-1] if merged else None
        if last and kernel.layer and (last.layer, last.call) == (kernel.layer, kernel.call):
            last.reads |= kernel.reads - last.makes
            last.makes |= kernel.makes
        else:
            merged.append(kernel)
    return merged


class Memory:
    """Who holds what, from when to when, once fused kernels work where their input lies."""

    def __init__(self, model, inputs):
        watch = Watch(model).run(model, inputs)
        self.outputs, self.elements = watch.outputs, watch.elements
        kernels = merged_layers(watch.kernels)
        needed = set().union(self.outputs, *(k.reads for k in kernels))
        for kernel in kernels:
            kernel.makes &= needed  # not the indices of a pooling, or the moments of a norm
        self.kernels, self._moved = kernels, {}
        for time, kernel in enumerate(kernels):
            if self._fuses(kernels, time, watch.inputs):
                (old,), (new,) = kernel.reads, kernel.makes
                self._moved[new] = self._moved.get(old, old)
        first, last = dict.fromkeys(watch.inputs, 0), dict.fromkeys(watch.inputs, 0)
        for time, kernel in enumerate(kernels):
            for memory in self.homes(kernel.reads | kernel.makes):
                first.setdefault(memory, time)
                last[memory] = time
        last |= dict.fromkeys(self.homes(self.outputs), len(kernels))
        self.alive = [{m for m in first if first[m] <= t <= last[m]} for t in range(len(kernels))]
        self.makers, self.readers = self._layers()

    def homes(self, memories):
        """Where these memories lie once what can works in place."""
        return {self._moved.get(memory, memory) for memory in memories}

    def _fuses(self, kernels, time, inputs):
        """Whether a norm or activation is the only one to read the last that was written."""
        kernel = kernels[time]
        is_known = any(word in kernel.name for word in FUSED) and not kernel.layer
        if not is_known or len(kernel.reads) != 1 or len(kernel.makes) != 1:
            return False
        (old,), (new,) = kernel.reads, kernel.makes
        if old in inputs | self.outputs or self.elements[old] != self.elements[new]:
            return False
        writer = max(t for t in range(time) if old in kernels[t].written)
        after = (kernels[t] for t in range(writer + 1, len(kernels)) if t != time)
        return not any(old in other.reads and not other.is_view for other in after)

    def _layers(self):
        """For each memory the layers before and behind it, through kernels that are no layers."""
        makers, readers = defaultdict(set), defaultdict(set)
        for kernel in self.kernels:
            before = set().union(*(makers[m] for m in self.homes(kernel.reads)))
            for memory in self.homes(kernel.written):
                makers[memory] |= {kernel.layer} if kernel.layer else before
        for kernel in reversed(self.kernels):
            behind = set().union(*(readers[m] for m in self.homes(kernel.written)))
            for memory in self.homes(kernel.reads):
                readers[memory] |= {kernel.layer} if kernel.layer else behind
        return makers, readers

    def peak_bytes(self, bits):
        """The most bytes at any time, for activation bits by layer."""
        stored = {}
        for memory in set().union(*self.alive):
            layers = self.readers[memory] or self.makers[memory]
            stored[memory] = self.elements[memory] * max((bits[n] for n in layers), default=0)
        return max(Fraction(sum(stored[m] for m in alive), 8) for alive in self.alive)
