"""Blocks of a matrix in a basis of atomic orbitals, written as irreps of SO(3)."""

from deeph.representation.blocks import BlockRepresentation
from deeph.representation.channels import ChannelTable, channel_table

__all__ = ["BlockRepresentation", "ChannelTable", "channel_table"]
