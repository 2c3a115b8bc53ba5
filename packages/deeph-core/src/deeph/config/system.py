"""The section ``system``: the computer, and what is shown. The same in training and inference."""

from __future__ import annotations

from dataclasses import dataclass

from deeph.config.device import parse_device
from deeph.config.key import Rule, key


@dataclass(frozen=True, kw_only=True)
class System:
    """Device, number type, seed and what the program shows."""

    note: str = key("", "A name or remark for the run; has no effect.", numeric=False, quiet=True)
    device: str | None = key(
        None,
        "Where to compute: cpu, gpu (any accelerator), cuda, rocm, dcu or tpu, followed by "
        "*number:ids; gpu*8:0 is the first of eight.",
        syntax=parse_device,
        absent="the best device that is there",
        numeric=False,
    )
    float_type: str = key(
        "fp32",
        "Number type of graph and network.",
        choices=("fp32", "fp64"),
        aliases={"float32": "fp32", "float64": "fp64"},
        refused={
            "bf16": 'its accuracy is not proven for Hamiltonians in this version; use "fp32"',
            "tf32": 'its accuracy is not proven for Hamiltonians in this version; use "fp32"',
        },
    )
    random_seed: int = key(
        137,
        "Seed of the split, the initial parameters and the shuffling.",
        rule=Rule("from 0 to 4294967295", lambda value: 0 <= value < 2**32),
    )
    log_level: str = key(
        "info",
        "Least important messages that enter the log file deeph.log.",
        choices=("debug", "info", "warning", "error", "critical"),
        numeric=False,
        quiet=True,
    )
    jax_memory_preallocate: bool = key(
        True,
        "Whether an accelerator's memory is reserved at the start (75 %).",
        numeric=False,
        quiet=True,
    )
    show_train_process_bar: bool = key(
        True, "Whether training shows a progress bar on a terminal.", numeric=False, quiet=True
    )
