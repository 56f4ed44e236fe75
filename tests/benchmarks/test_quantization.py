"""The benchmark of training steps runs, and says what is missing."""

import torch

from benchmarks import quantization


def test_every_contender_is_timed_in_every_round(monkeypatch):
    """Steps of float and quantized networks in turn; what cannot be imported is named."""
    torch.set_num_threads(1)

    def absent(model, images):
        raise ModuleNotFoundError("No module named 'absent'")

    monkeypatch.setitem(quantization.CONTENDERS, "absent", absent)
    names = ["float", "bitwright lsq", "absent"]
    times, missing = quantization.step_times(batch=2, size=32, rounds=2, names=names)
    assert {name: len(seconds) for name, seconds in times.items()} == {
        "float": 2,
        "bitwright lsq": 2,
    }
    assert all(second > 0 for seconds in times.values() for second in seconds)
    assert missing == {"absent": "No module named 'absent'"}
