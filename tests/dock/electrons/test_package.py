"""The public names of the package."""

from __future__ import annotations

import pytest
from deeph_dock import electrons


def test_every_public_name_is_what_its_module_holds() -> None:
    for name in electrons.__all__:
        found = getattr(electrons, name)
        assert callable(found), name
        assert found.__module__.startswith("deeph_dock.electrons."), name


def test_other_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        electrons.magic  # noqa: B018 - looking it up is the test
