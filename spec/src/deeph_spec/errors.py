"""What is wrong with input: the one exception that users see, and the record of a broken rule."""

from __future__ import annotations

from dataclasses import dataclass


class InputError(Exception):
    """Input from outside (a file, a folder, an argument) that cannot be used.

    The message is one line: what, where (file, line or key), found, expected, what to do.

    Parameters
    ----------
    message : str
        The line. Line breaks are replaced by spaces.
    rule : str, optional
        Rule of the format that is broken, e.g. ``"E08"``.
    key : str, optional
        Key, dataset or line of the file, e.g. ``"chunk_shapes"`` or ``"line 7"``.
    """

    def __init__(self, message: str, *, rule: str = "", key: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.rule = rule
        self.key = key


@dataclass(frozen=True)
class Problem:
    """Something wrong in one key of a file.

    Parameters
    ----------
    rule : str
        Rule of the format, e.g. ``"E08"``.
    key : str
        Key of the file; empty for the file as a whole.
    message : str
        What was found and what was expected.
    remedy : str
        What to do.
    """

    rule: str
    key: str
    message: str
    remedy: str
