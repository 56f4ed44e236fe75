"""Stages `train` and `read`: the float network, and its description."""

from __future__ import annotations

from safetensors.torch import save
from torch import nn

from bitwright.pipeline.folder import fingerprint
from bitwright.pipeline.work import FLOAT_WEIGHTS, Work
from bitwright.problems.formats import dump_json, network_document, write_atomic
from bitwright.problems.network import NetworkDescription
from bitwright.quantization import fit


def train(work: Work) -> list[str]:
    """Train the float network by the recipe, from the run's seed; a killed training goes on."""
    model, config = work.fresh_model(), work.config
    depends = {name: config.identity()[name] for name in ("task", "training", "seed", "threads")}
    identity = fingerprint(**depends, data=work.data)
    checkpoint = work.folder / f"checkpoints/float-{identity[:12]}.pt"
    with work.reporter.bar("training") as bar:
        fit(
            model,
            work.task,
            config.training,
            seed=config.seed,
            checkpoint=checkpoint,
            progress=lambda epoch, epochs, loss: bar.update(epoch, epochs, f"loss {loss:.3f}"),
        )
    # Copies, since safetensors refuses tensors that share memory, such as tied weights.
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    write_atomic(work.folder / FLOAT_WEIGHTS, save(weights))
    checkpoint.unlink(missing_ok=True)
    return [FLOAT_WEIGHTS]


def read(work: Work) -> list[str]:
    """Run the network once and write down its layers, ties and pins."""
    description = work.read_network().description
    if fixed := [layer.name for layer in description if not layer.quantizable]:
        work.reporter.say(
            f"  left in float32, for no quantizer carries them out: {', '.join(fixed)}"
        )
    if work.config.variants.hybrid != "off" and not work.nonlinear:
        work.reporter.say(
            "  variants.hybrid changes nothing: no nonlinear activation but ReLU's kind"
        )
    if unseen := _unseen_weights(work.fresh_model(), description):
        work.reporter.say(f"  left in float32 and in no cost: {', '.join(unseen)}")
    write_atomic(work.folder / "network.json", dump_json(network_document(description)) + "\n")
    return ["network.json"]


def _unseen_weights(model: nn.Module, network: NetworkDescription) -> list[str]:
    """Parameters of two dimensions or more that are the weight of no layer, such as embeddings."""
    # A Parameter with two names may be the weight of a layer under the second one.
    seen = {
        id(value)
        for name, value in model.named_parameters(remove_duplicate=False)
        if any(name == layer or name.startswith(f"{layer}.") for layer in network.names)
    }
    return [n for n, value in model.named_parameters() if value.ndim > 1 and id(value) not in seen]
