"""A network of one's own, trained and compared with DFT: python own_network.py DATA [KEY=VALUE]."""

import sys
from dataclasses import InitVar, dataclass

import flax.linen as nn
from deeph import layers as eq
from deeph.config import train_settings, with_proposed
from deeph.inference.predictor import Predictor
from deeph.networks import NETWORKS
from deeph.networks.specification import NOTHING, Drop, NetworkSpecification
from deeph.training.display import TrainingDisplay
from deeph.training.loop import train
from deeph.training.runs import make_run
from deeph_dock.metrics import hamiltonian_error
from deeph_spec import Dataset


class Layers(nn.Module):
    """Bonds hear their two atoms, atoms the sum of their bonds, by the same layers each time."""

    spec: NetworkSpecification

    @nn.compact
    def __call__(self, graph):  # noqa: D102
        spec, f, i, j = self.spec, self.spec.features, graph.centre, graph.neighbour
        targets = (spec.node_target, spec.edge_target)
        wide = eq.with_both_parities(f, *targets)
        turns = eq.edge_turns(graph.axes, graph.turned, f, wide)  # between lab and edges
        lengths, species = graph.lengths, graph.species
        radial = eq.RadialEmbedding(spec.elements, spec.r_max)(lengths, species[i], species[j])
        atoms, bonds = eq.Embedding(f, spec.elements)(species, radial)
        around, norm, scale = eq.Around(f), eq.NodeNorm(f), nn.Dense(f.channels)
        mix, hear = eq.SO2Linear((f, f), f, extra=f.gates), eq.NodeLinear(f, f)
        for _ in range(spec.blocks):
            said, gates = mix(around(norm(atoms), turns, i, j), eq.edge_norm(f, bonds))
            bonds = eq.gate_edges(f, said, gates, 1 + scale(radial))
            heard, _ = hear(eq.to_nodes(f, turns, bonds, i, graph.nodes))
            atoms = eq.added(atoms, tuple(part / spec.neighbours**0.5 for part in heard))
        atoms, bonds = norm(atoms), eq.edge_norm(f, bonds)
        heads = eq.Heads(f, wide, *targets, spec.elements, spec.neighbours)
        ends = around(atoms, turns, i, j)
        on_site, off_site = heads(atoms, ends, bonds, radial, turns, species, i)
        return (
            eq.result_of_nodes(targets[0], on_site, graph.nodes, radial.dtype),
            eq.result_of_edges(targets[1], off_site, graph.edges, radial.dtype),
        )


@dataclass(frozen=True)
class OwnNetwork:
    """What a network must have: a specification, parameters, a pure function of them."""

    specification: NetworkSpecification
    drop: InitVar[Drop] = NOTHING  # what training leaves out, and whether it saves memory:
    remat: InitVar[bool] = False  # given to every network, not kept by this one

    def init(self, rng, graph):  # noqa: D102
        return Layers(self.specification).init(rng, graph)["params"]

    def apply(self, parameters, graph, rng=None):  # noqa: D102
        return Layers(self.specification).apply({"params": parameters}, graph)


if __name__ == "__main__":
    NETWORKS["own"], data = OwnNetwork, sys.argv[1]
    paths = {"inputs_dir": f"{data}/dft/train", "outputs_dir": "work/training"}
    usual = ("net_irreps=24x0e+16x1o+12x2e+8x3o+8x4e", "scheduler.type=warmup_cosine_decay")
    settings = train_settings({"data": paths}, None, (*usual, "max_epoch=300", *sys.argv[2:]))
    run = make_run(settings.data.outputs_dir)
    train(with_proposed(settings, {"model.net_type": "own"}), run, TrainingDisplay(), resume=False)
    for folder, prediction in Predictor.load(run).predict(Dataset.open(f"{data}/dft/test")):
        print(folder.id, hamiltonian_error(prediction, folder.hamiltonian()).mae.all, "meV")
