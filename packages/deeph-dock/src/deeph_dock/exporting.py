"""The forms other than the format in which a dataset can be written.

Each is a function of the type `deeph_dock.deriving.Make`, registered as ``"module:function"``.
"""

from __future__ import annotations

from deeph_spec.errors import InputError

EXPORTS: dict[str, str] = {"deeph-legacy": "deeph_dock.codes.deeph_legacy.writing:write_folder"}
"""Name of each form on the command line, and the function that fills a folder."""


def maker(name: str) -> str:
    """Give the function that writes a form.

    Parameters
    ----------
    name : str
        One of `EXPORTS`, in any case.

    Returns
    -------
    str
        ``"module:function"``.

    Raises
    ------
    InputError
        If no such form is known.
    """
    try:
        return EXPORTS[name.lower()]
    except KeyError:
        raise InputError(f"no form '{name}'; known are {', '.join(EXPORTS)}") from None
