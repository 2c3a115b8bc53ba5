"""The `normal` network: message passing on nodes and edges with gates, in the frames of edges."""
