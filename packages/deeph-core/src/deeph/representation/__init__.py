"""Blocks of a matrix in a basis of atomic orbitals, and declared tensors, as irreps of SO(3)."""

from deeph.representation.blocks import BlockRepresentation
from deeph.representation.channels import ChannelTable, Representation, channel_table
from deeph.representation.tensors import NO_CHANNELS, TensorRepresentation

__all__ = [
    "NO_CHANNELS",
    "BlockRepresentation",
    "ChannelTable",
    "Representation",
    "TensorRepresentation",
    "channel_table",
]
