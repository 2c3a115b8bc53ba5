"""The arrays that describe structures to a network: names, shapes, meaning.

n atoms and e edges of one or several structures, padded to a fixed shape. An edge is a stored pair
(R, i, j) without the on-site ones; it belongs to the block <phi_i0 | O | phi_jR>. Edges are sorted
by `centre`. The last node and the last edges of a padded graph are dummies: dummy edges start and
end at the dummy node and are their own reverse.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Graph(NamedTuple):
    """Atoms and edges of the structures of one batch.

    Attributes
    ----------
    species : int32 (n,)
        Element of each atom, as index into the representation's elements.
    centre : int32 (e,)
        First atom i of each edge; messages are summed over the edges of one centre.
    neighbour : int32 (e,)
        Second atom j of each edge.
    reverse : int32 (e,)
        Index of the edge (-R, j, i).
    lengths : float (e,)
        Distance in Å from atom i to the image of atom j.
    axes : float (e, 3)
        Axis of the edge's frame, see `deeph.so3.EdgeFrames`.
    turned : float (e,)
        1 where the edge runs against its axis, else 0.
    node_structure, edge_structure : int32 (n,), (e,)
        Structure within the batch; dummies carry the number of structures.
    node_mask, edge_mask : float (n,), (e,)
        1 for what is real, 0 for dummies.
    """

    species: Array
    centre: Array
    neighbour: Array
    reverse: Array
    lengths: Array
    axes: Array
    turned: Array
    node_structure: Array
    edge_structure: Array
    node_mask: Array
    edge_mask: Array

    @property
    def nodes(self) -> int:
        """Number of nodes, dummies included."""
        return int(self.species.shape[0])

    @property
    def edges(self) -> int:
        """Number of edges, dummies included."""
        return int(self.centre.shape[0])
