"""How fast the networks are, and how much memory they take: one core, float32.

The test graph is a 3 x 3 monolayer of MoS2, 27 displaced atoms, Mo with s3p2d2 and S with s2p2d1,
so that a block has 361 outputs. Its edges are the 742 nearest pairs, both ways: 1 484, as in the
design's measurements. Features are 64x0e+32x1+16x2+8x3+8x4 in 3 blocks: without parity, the
function class for which the goals were set, and with it, where half as many channels of
unnatural parity join them.

Times are CPU seconds in yards: the yard is 50 products of float32 matrices of 1024 x 1024, in one
thread of the same process. Beside each figure stand the goal and what DeepH-E3 and a prototype
of this design took.

    training step  loss and gradient, and apart from it the optimiser's update
    rotations      share of the loss and gradient: frames, and turning features into them and back
    moving         share of gathering features from atoms, reordering them, summing onto atoms
    products       share of matrix products on edges; speed: theirs in the program, over the yard's
    compiling      wall seconds from Python to the program of a step, of XLA with all cores
    memory         what XLA reserves for results in between, and what the process grows by

Each measurement has a process of its own.

    python benchmarks/network.py [--networks normal,accurate] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from yardstick import one_thread
from yardstick.yard import FLOPS, cpu_seconds, yard

IRREPS = "64x0e+32x1o+16x2e+8x3o+8x4e"
PAPER = "64x0e+48x1e+32x2e+16x3e+8x4e+8x5e+4x6e"
EDGES = 1484
NEIGHBOURS = 60
MO, S = (0, 0, 0, 1, 1, 2, 2), (0, 0, 1, 1, 2)
WIDE = (0, 0, 0, 1, 1, 2, 3)
"""s3p2d1f1, the shells of the paper's larger network."""
ROTATIONS = ("so3/", ":edge_turns", ":_turned")
MOVING = ("layers/turning.py",)
"""Parts of names of places in Python: frames and turning; gathering from and summing onto atoms."""

PEERS = {"step": (2.26, 0.229), "inference": (0.92, 0.059)}
"""Yards of DeepH-E3 and of the prototype."""
GOALS = {
    "normal": {"step": 0.150, "inference": 0.037},
    "accurate": {"step": 0.282, "inference": 0.051},
}


class Case(NamedTuple):
    """A network on a graph.

    Attributes
    ----------
    part : str
        What is measured: speed, compiling, training or inference.
    network : str
    parity : bool
    blocks : int
    irreps : str
    remat : bool
    wide : bool
        Whether the graph is the larger crystal of 60 neighbours an atom instead of MoS2.
    """

    part: str
    network: str
    parity: bool = False
    blocks: int = 3
    irreps: str = IRREPS
    remat: bool = False
    wide: bool = False


class Subject(NamedTuple):
    """What is measured on: a network, its parameters, a padded graph, labels."""

    representation: Any
    network: Any
    parameters: Any
    graph: Any
    labels: tuple[Any, Any]
    atoms: int
    edges: int


def nearest(structure: Any, edges: int) -> np.ndarray:
    """Return so many pairs of atoms, the nearest ones."""
    from deeph_spec.testing import neighbour_pairs

    pairs = neighbour_pairs(structure, 9.0)
    lengths = np.linalg.norm(structure.pair_vectors(pairs), axis=1).round(9)
    others = lengths > 0
    order = np.argsort(lengths[others], kind="stable")
    chosen = pairs[others][order[:edges]]
    assert len(chosen) == edges
    return chosen


def monolayer() -> Any:
    """Return 3 x 3 cells of MoS2, every atom displaced."""
    from deeph_spec.structure import Structure

    lattice = 3.18 * np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 10]])
    cell = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 1.56 / 31.8], [2 / 3, 1 / 3, -1.56 / 31.8]])
    corners = np.array([[i, j, 0] for i in range(3) for j in range(3)])
    positions = (corners[:, None] + cell).reshape(-1, 3) @ lattice
    positions += np.random.default_rng(0).uniform(-0.1, 0.1, positions.shape)
    return Structure(lattice * [[3], [3], [1]], positions, np.tile([42, 16, 16], 9))


def crystal(side: int = 3) -> Any:
    """Return a cubic crystal of two elements, every atom displaced."""
    from deeph_spec.structure import Structure

    corners = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1)
    positions = 2.5 * corners + np.random.default_rng(0).uniform(-0.1, 0.1, (side**3, 3))
    return Structure(2.5 * side * np.eye(3), positions, 16 + 26 * (corners.sum(axis=1) % 2))


def subject(case: Case) -> Subject:
    """Make the network of a case and its graph."""
    import jax
    from deeph.graphs import build_graph, concatenate, padded_shapes
    from deeph.networks import NETWORKS, NetworkSpecification
    from deeph.representation import BlockRepresentation

    structure = crystal() if case.wide else monolayer()
    edges = NEIGHBOURS * len(structure) if case.wide else EDGES
    representation = BlockRepresentation.of(
        {"Mo": WIDE, "S": WIDE} if case.wide else {"Mo": MO, "S": S}, "none"
    )
    source = build_graph(structure, nearest(structure, edges), representation)
    (shape,) = padded_shapes([(source.graph.nodes, source.graph.edges)], 1, 1)
    graph = jax.device_put(concatenate([source.graph], shape))
    natural, unnatural = representation.channels.counts(representation.l_max)
    specification = NetworkSpecification(
        elements=2,
        irreps=case.irreps,
        parity=case.parity,
        blocks=case.blocks,
        r_max=7.5,
        neighbours=edges / len(structure),
        node_natural=natural,
        node_unnatural=unnatural,
        edge_natural=natural,
        edge_unnatural=unnatural,
        heads=2,
    )
    network = NETWORKS[case.network](specification, **({"remat": True} if case.remat else {}))
    parameters = jax.jit(network.init)(jax.random.key(0), graph)
    rng, size = np.random.default_rng(1), representation.channels.size
    labels = tuple(
        jax.device_put(rng.normal(size=(count, size)).astype(np.float32))
        for count in (graph.nodes, graph.edges)
    )
    return Subject(
        representation, network, parameters, graph, labels, len(structure), source.graph.edges
    )


def programs(given: Subject) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
    """Return loss with gradient, inference, and the optimiser, as functions to be compiled."""
    import jax
    import jax.numpy as jnp
    from deeph.config.process import Optimizer
    from deeph.targets import hermitian_result
    from deeph.training.optimisers import optimiser

    def infer(parameters: Any, graph: Any) -> Any:
        result = given.network.apply(parameters, graph)
        return hermitian_result(given.representation, graph, *result)

    def loss(parameters: Any, graph: Any, labels: Any) -> Any:
        nodes, edges = infer(parameters, graph)
        on_site = (nodes - labels[0]) ** 2 * graph.node_mask[:, None]
        return jnp.mean(on_site) + jnp.mean((edges - labels[1]) ** 2 * graph.edge_mask[:, None])

    return jax.value_and_grad(loss), infer, optimiser(Optimizer())


def speed(case: Case) -> dict[str, Any]:
    """Measure parameters, times in yards, the share of rotations and the speed of products."""
    import jax
    from yardstick.operations import operations

    given = subject(case)
    gradient, infer, rule = programs(given)
    state = jax.jit(rule.init)(given.parameters)
    learn = jax.jit(gradient).lower(given.parameters, given.graph, given.labels).compile()
    guess = jax.jit(infer).lower(given.parameters, given.graph).compile()
    update = jax.jit(rule.update).lower(given.parameters, state, given.parameters).compile()

    def once() -> Any:
        return jax.block_until_ready(learn(given.parameters, given.graph, given.labels))

    one = yard()
    seconds = {
        "step": cpu_seconds(once),
        "optimiser": cpu_seconds(
            lambda: jax.block_until_ready(update(given.parameters, state, given.parameters))
        ),
        "inference": cpu_seconds(
            lambda: jax.block_until_ready(guess(given.parameters, given.graph))
        ),
    }
    one = min(one, yard())
    parts = operations(learn, once)
    total = sum(part.seconds for part in parts)
    turning = [part for part in parts if _from(part.places, ROTATIONS)]
    moving = [part for part in parts if part not in turning and _from(part.places, MOVING)]
    # Products on edges: one of their extents counts edges, and they are not rotations.
    products = [
        part
        for part in parts
        if part not in turning
        and any(extent % given.graph.edges == 0 for _, sizes in part.products for extent in sizes)
    ]
    busy = sum(part.seconds for part in products) / total * seconds["step"]
    flops = sum(part.flops for part in products)
    return {
        "parameters": sum(x.size for x in jax.tree.leaves(given.parameters)),
        "edges": given.edges,
        "yard": one,
        **{name: value / one for name, value in seconds.items()},
        "rotations": sum(part.seconds for part in turning) / total,
        "moving": sum(part.seconds for part in moving) / total,
        "products": sum(part.seconds for part in products) / total,
        "gflop": flops / 1e9,
        "rate": flops / busy / (FLOPS / one) if busy else 0.0,
        "inference bytes": _reserved(guess) / given.atoms,
    }


def _from(places: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Tell whether an operation comes from one of the named places of the program."""
    return any(name in place for place in places if "/deeph/" in place for name in names)


def _reserved(compiled: Any) -> int:
    """Return the bytes of results, in between and at the end."""
    analysis = compiled.memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def compiling(case: Case) -> dict[str, Any]:
    """Measure the wall seconds from Python functions to the program of a training step."""
    import jax

    given = subject(case)
    gradient, _, rule = programs(given)
    state = jax.eval_shape(rule.init, given.parameters)

    def step(parameters: Any, state: Any, graph: Any, labels: Any) -> Any:
        loss, slope = gradient(parameters, graph, labels)
        updates, state = rule.update(slope, state, parameters)
        return jax.tree.map(lambda p, u: p - 1e-3 * u, parameters, updates), state, loss

    start, used = time.perf_counter(), time.process_time()
    jax.jit(step).lower(given.parameters, state, given.graph, given.labels).compile()
    return {"wall": time.perf_counter() - start, "cpu": time.process_time() - used}


def training(case: Case) -> dict[str, Any]:
    """Measure what XLA reserves for loss and gradient, per edge."""
    import jax

    given = subject(case)
    gradient, _, _ = programs(given)
    learn = jax.jit(gradient).lower(given.parameters, given.graph, given.labels).compile()
    return {"bytes": learn.memory_analysis().temp_size_in_bytes / given.edges}


def inference(case: Case) -> dict[str, Any]:
    """Measure what an inference reserves, and what the process grows by, per atom."""
    import jax

    given = subject(case)
    _, infer, _ = programs(given)
    guess = jax.jit(infer).lower(given.parameters, given.graph).compile()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _resident("VmHWM")
    jax.block_until_ready(guess(given.parameters, given.graph))
    return {
        "atoms": given.atoms,
        "edges": given.edges,
        "parameters": sum(x.size for x in jax.tree.leaves(given.parameters)),
        "bytes": _reserved(guess) / given.atoms,
        "grown": (_resident("VmHWM") - before) / given.atoms,
    }


def _resident(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


PARTS = {"speed": speed, "compiling": compiling, "training": training, "inference": inference}


def measured(case: Case, cache: Path | None = None) -> dict[str, Any]:
    """Measure a case in a process of its own; with `cache`, programs are kept there."""
    surroundings = one_thread() if cache is None else {**os.environ, "JAX_PLATFORMS": "cpu"}
    surroundings.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache is not None:
        surroundings["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(case._asdict())],
        capture_output=True,
        text=True,
        env=surroundings,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case}\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def collected(names: list[str], quick: bool) -> dict[str, Any]:
    """Measure everything of all networks."""
    found: dict[str, Any] = {}
    for name in names:
        mine: dict[str, Any] = {
            "speed": measured(Case("speed", name)),
            "speed with parity": measured(Case("speed", name, parity=True)),
        }
        if not quick:
            with tempfile.TemporaryDirectory() as folder:
                for kind in ("cold", "cached"):
                    mine[f"compiling 3 blocks, {kind}"] = measured(
                        Case("compiling", name), Path(folder)
                    )
                    mine[f"compiling 4 blocks, {kind}"] = measured(
                        Case("compiling", name, blocks=4), Path(folder)
                    )
            mine["training"] = measured(Case("training", name))
            mine["training, remat"] = measured(Case("training", name, remat=True))
            mine["inference"] = measured(Case("inference", name))
        found[name] = mine
    if not quick and "accurate" in names:
        found["accurate"]["inference, paper's size"] = measured(
            Case("inference", "accurate", irreps=PAPER, wide=True)
        )
    return found


def speed_table(found: dict[str, Any]) -> None:
    """Print times in yards beside goals and peers."""
    print(
        f"{'':24s}{'parameters':>12s}{'step':>8s}{'goal':>7s}{'optimiser':>11s}"
        f"{'inference':>11s}{'goal':>7s}{'rotations':>11s}{'moving':>8s}{'products':>10s}{'speed':>7s}"
    )
    for peer, number in (("DeepH-E3", 0), ("prototype", 1)):
        step, inference = PEERS["step"][number], PEERS["inference"][number]
        print(f"{peer:24s}{'':12s}{step:8.3f}{'':18s}{inference:11.3f}")
    for name, mine in found.items():
        for title, key in ((name, "speed"), (f"{name}, parity", "speed with parity")):
            row, goals = mine[key], GOALS.get(name, {}) if key == "speed" else {}
            step, inference = (
                f"{goals[part]:.3f}" if part in goals else "" for part in ("step", "inference")
            )
            print(
                f"{title:24s}{row['parameters']:12,d}{row['step']:8.3f}{step:>7s}"
                f"{row['optimiser']:11.3f}{row['inference']:11.3f}{inference:>7s}"
                f"{row['rotations']:11.0%}{row['moving']:8.0%}{row['products']:10.0%}{row['rate']:7.0%}"
            )
    print("goals: rotations under 15 %, speed of products at least 50 % of the yard's")


def other_table(found: dict[str, Any]) -> None:
    """Print compile times and memory."""
    print("\ncompiling a training step, wall seconds (goal: 4 blocks of accurate 40, cold)")
    for name, mine in found.items():
        words = [
            f"{key.removeprefix('compiling ')} {value['wall']:.1f}"
            for key, value in mine.items()
            if key.startswith("compiling")
        ]
        print(f"  {name:22s}{'; '.join(words)}")
    print("\nmemory")
    for name, mine in found.items():
        rows = {key: value for key, value in mine.items() if key.startswith(("train", "infer"))}
        for key, value in rows.items():
            if key.startswith("training"):
                goal = "   goal 40" if "remat" in key else ""
                print(f"  {name}, {key}: {value['bytes'] / 1e3:.1f} kB an edge{goal}")
            else:
                goal = 4 if "paper" in key else 1
                print(
                    f"  {name}, {key}: {value['bytes'] / 1e6:.2f} MB an atom reserved, grown by "
                    f"{value['grown'] / 1e6:.2f}   goal {goal}   ({value['atoms']} atoms, "
                    f"{value['edges']} edges, {value['parameters']:,} parameters)"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="normal,accurate")
    parser.add_argument("--quick", action="store_true", help="times alone")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        case = Case(**json.loads(arguments.child))
        print(json.dumps(PARTS[case.part](case)))
        return
    found = collected(arguments.networks.split(","), arguments.quick)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    rows = [value for mine in found.values() for value in mine.values() if "yard" in value]
    print(f"MoS2, 27 atoms, {rows[0]['edges']} edges, 361 outputs; yard {rows[0]['yard']:.2f} s\n")
    speed_table(found)
    if not arguments.quick:
        other_table(found)


if __name__ == "__main__":
    main()
