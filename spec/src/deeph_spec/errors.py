"""The one exception that users see: input that cannot be used, said in one line."""

from __future__ import annotations


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
