"""The reference page of the configuration, written from the declarations of the keys.

``python -m deeph.config.reference FILE`` writes the page; a test fails when it is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from deeph_spec.files import write_text

from deeph.config.inference import InferConfig
from deeph.config.key import KeySpec, key_specs
from deeph.config.toml import shown
from deeph.config.training import TrainConfig

_HEAD = """\
# Configuration files

Written by `python -m deeph.config.reference`; change the declarations in `deeph.config`, not this
page.

`deeph train` and `deeph infer` read a TOML file with the sections `system`, `data`, `model` and
`process`. The keys are those of DeepH-pack, so that its files can be used as they are; additions
are marked. Every key is either implemented or refused in one line that says why; an unknown key is
an error that names the nearest known one.

- `deeph init DATASET` writes a file adapted to a dataset, `deeph check FILE` explains a file.
- `deeph train FILE key=value` replaces a value; the key may be the unique end of its name.
- Names are compared without case. Whole numbers may be written `2e5`.
- A relative path is looked for from the working directory, then from the folder of the file.
  A relative `outputs_dir` is made where the relative `inputs_dir` was found.
- An empty text means the same as an absent key.
"""


def _escaped(text: str) -> str:
    """Protect the characters that Markdown would take for itself."""
    return re.sub(r"([|*])", r"\\\1", text)


def _type(spec: KeySpec) -> str:
    """Name the type and the allowed values of a key."""
    words = {"str": "text", "size": "number", "pair": "two numbers", "bool": "bool"}
    text = words.get(spec.kind, spec.kind)
    if spec.said.choices:
        text = ", ".join(spec.said.choices)
        text += f" (also {', '.join(spec.said.aliases)})" if spec.said.aliases else ""
    elif spec.said.limited:
        text += f", only {shown(spec.said.only)}"
    elif spec.said.rule:
        text += f", {spec.said.rule.text}"
    return text


def _default(spec: KeySpec) -> str:
    """Say what holds when the key is absent."""
    if spec.required:
        return "**must be set**"
    if spec.default is None:
        return spec.said.absent
    text = f"`{shown(spec.default)}`"
    if spec.said.varies:
        other, defaults = spec.said.varies
        last = other.rpartition(".")[2]
        cases = (f"`{shown(v)}` with {last} {k}" for k, v in defaults.items())
        text = ", ".join([text, *cases])
    return text


def _meaning(spec: KeySpec) -> str:
    """Say what a key does, when it is read, and what it refuses."""
    declared = spec.said
    text = _escaped(declared.note)
    if declared.ours:
        text += " *Addition of this program.*"
    if declared.applies:
        name, values = declared.applies
        text += f" Read when `{name}` is {' or '.join(shown(value) for value in values)}."
    if declared.limited:
        text += f" Other values are refused: {declared.because}."
    reasons: dict[str, list[str]] = {}
    for name, reason in declared.refused.items():
        reasons.setdefault(reason, []).append(name)
    if reasons:
        said = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
        text += f" Refused: {'; '.join(said)}."
    for wrong in declared.misspelt:
        text += f" The misspelling `{wrong}` is accepted with a warning."
    return text


def _tables(specs: tuple[KeySpec, ...]) -> Iterator[str]:
    """Yield the lines of one table per section."""
    section = ""
    for spec in specs:
        if spec.section != section:
            section = spec.section
            yield f"\n### [{section}]\n"
            yield "| key | values | when absent | meaning |"
            yield "|---|---|---|---|"
        cells = (_type(spec), _default(spec), _meaning(spec))
        last = spec.name.rpartition(".")[2]
        yield f"| `{last}` | " + " | ".join(cells) + " |"


def reference_page() -> str:
    """Write the reference page of the configuration in Markdown.

    Returns
    -------
    str
        One table per section, for training and for inference.
    """
    lines = [_HEAD]
    for title, config_class in (("Training", TrainConfig), ("Inference", InferConfig)):
        lines += [f"\n## {title}", *_tables(key_specs(config_class))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), reference_page())
