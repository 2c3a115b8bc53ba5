"""Summary of a dataset: what is in it, how large it is, how far matrices reach, what is mixed.

`facts` looks at one structure, `entries` at the entries of its matrices, `collecting` puts the
facts of all structures together, `mixtures` says what should not differ between them and does.
"""

from deeph_dock.summary.collecting import Span, Summary, summarise
from deeph_dock.summary.facts import Facts, Task, facts_of, tasks

__all__ = ["Facts", "Span", "Summary", "Task", "facts_of", "summarise", "tasks"]
