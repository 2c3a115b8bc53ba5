"""``python -m deeph.cli`` is the command ``deeph``."""

from __future__ import annotations

from deeph.cli import main

main()
