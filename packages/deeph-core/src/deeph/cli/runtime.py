"""Makes JAX ready for what the settings ask: device, number type, memory, compilation cache."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeph.config.system import System

_SLOW_SCATTER = ("0.10.2", "0.11.0")
"""jaxlib versions whose float32 scatter-add on NVIDIA GPUs is hundreds of times slower."""


def prepare_jax(system: System) -> tuple[str, list[str]]:
    """Choose the device and set up JAX; call it before anything is computed.

    Parameters
    ----------
    system : System
        The section ``system`` of the settings.

    Returns
    -------
    device : str
        What is used, in the grammar of ``system.device``.
    warnings : list of str
        What the user should know about it.

    Raises
    ------
    InputError
        When the device is not there; the line names what is.
    """
    from deeph_spec.errors import InputError

    from deeph.config.device import parse_device

    wanted = parse_device(system.device) if system.device else None
    os.environ.setdefault(
        "XLA_PYTHON_CLIENT_PREALLOCATE", str(system.jax_memory_preallocate).lower()
    )
    # XLA takes tuning flags of the CPU for instructions when it loads a cached program, and prints
    # pages about them. What really goes wrong arrives as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if wanted is not None and wanted.platform == "cpu":
        # Otherwise JAX would take hold of an accelerator that is not going to be used.
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    settings: Any = jax.config
    if system.float_type == "fp64":
        settings.update("jax_enable_x64", True)
    # Otherwise products on NVIDIA GPUs keep ten bits of float32, and equivariance three digits.
    settings.update("jax_default_matmul_precision", "highest")
    _use_cache(settings)
    if wanted is None:
        device = jax.devices()[0]
    else:
        try:
            there = jax.devices(wanted.platform)
        except RuntimeError:
            there = []
        if wanted.ids[0] >= len(there):
            raise InputError(
                f'system.device = "{system.device}": not there; this machine has {_present()}'
            )
        device = there[wanted.ids[0]]
    settings.update("jax_default_device", device)
    number = getattr(device, "id", 0)
    name = "cpu" if device.platform == "cpu" else f"{device.platform}*{number + 1}:{number}"
    return name, _warnings(device.platform)


def _present() -> str:
    """Name the devices of this machine."""
    import jax

    names = []
    for kind in dict.fromkeys([jax.default_backend(), "cpu"]):
        count = len(jax.devices(kind))
        names.append(kind if kind == "cpu" else f"{kind}*{count}")
    return ", ".join(names)


def _warnings(kind: str) -> list[str]:
    """Warn about versions that are known to be slow on this kind of device."""
    found = version("jaxlib")
    if kind != "cpu" and found in _SLOW_SCATTER:
        return [
            f"jaxlib {found} is hundreds of times slower on GPUs than it should be; "
            "install another version"
        ]
    return []


def _use_cache(settings: Any) -> None:
    """Keep compiled programs between runs, apart for each kind of processor."""
    if settings.jax_compilation_cache_dir:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "deeph" / f"jax-{version('jax')}-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written to: compile every time
    settings.update("jax_compilation_cache_dir", str(folder))


def _processor() -> str:
    """Name the kind of processor: a program compiled for another one may not run on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind = "".join(
            sorted({ln for ln in lines if ln.startswith(("flags", "Features", "model name"))})
        )
    except OSError:
        kind = platform.processor()
    return platform.machine() + "-" + hashlib.sha256(kind.encode()).hexdigest()[:8]
