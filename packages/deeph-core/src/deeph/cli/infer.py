"""``deeph infer``: predicts what a model has learned and writes complete folders."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deeph_spec.blocks import BlockMatrix
    from deeph_spec.dataset import StructureFolder

    from deeph.config import InferConfig

_EVERY = 5.0
_ALWAYS = 20
"""The first so many structures get a line each, later ones one every `_EVERY` seconds."""


def infer(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE|MODEL", help="A settings file, or a run or model to use."),
    ],
    rest: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE|FOLDER",
            help="With a file: settings that win over it. With a model: what to predict.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where predictions go [default: predictions]."),
    ] = None,
    to_input: Annotated[
        bool, typer.Option("--to-input", help="Write the prediction beside the inputs.")
    ] = False,
    which: Annotated[
        str, typer.Option("--which", help="The model of a run: best or latest.")
    ] = "best",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Structures predicted together.")
    ] = 1,
    device: Annotated[str | None, typer.Option("--device", help="For instance cpu or gpu.")] = None,
) -> int:
    """Predict Hamiltonians, or what else a model has learned, from structures and overlaps.

    A structure needs POSCAR, info.json and overlap.h5. The options are for use without a settings
    file.

    Example: deeph infer runs/2026-03-01_09-30-00 new_structures -o predictions

    Example: deeph infer infer.toml batch_size=8
    """
    from deeph_spec.errors import InputError

    from deeph.config import infer_settings, load_infer

    rest = rest or []
    if source.suffix == ".toml":
        options = {"-o": output, "--to-input": to_input, "--device": device}
        given = [name for name, value in options.items() if value]
        if given:
            raise InputError(
                f"{', '.join(given)}: with a settings file, set the keys in the file or write "
                "key=value after its name"
            )
        return _predict([load_infer(source, rest)])
    missing = next((name for name in [str(source), *rest] if not Path(name).exists()), None)
    if missing is not None:
        raise InputError(
            f"{missing}: no such {'run or model' if missing == str(source) else 'folder'}"
        )
    if not rest:
        raise InputError(f"{source}: name the folders to predict after the model")
    tables: dict[str, Any] = {
        "system": {"device": device or ""},
        "model": {"model_dir": str(source), "load_model_type": which},
        "process": {
            "infer": {
                "output_into": "to_input" if to_input else "to_output",
                "dataloader": {"batch_size": batch_size},
            }
        },
    }
    outputs = str(output or Path("predictions"))
    return _predict(
        [
            infer_settings({**tables, "data": {"inputs_dir": folder, "outputs_dir": outputs}})
            for folder in rest
        ]
    )


def _predict(configs: Sequence[InferConfig]) -> int:
    """Predict everything the settings name; they differ only in their inputs."""
    from deeph_spec.files import readable, write_text

    from deeph.cli.runtime import prepare_jax
    from deeph.config import describe, to_toml, with_proposed

    config = configs[0]
    for line in config.warnings:
        print(f"warning: {line}")
    folders, incomplete = _inputs(configs)
    device, warnings = prepare_jax(config.system)  # before anything imports JAX
    for line in warnings:
        print(f"warning: {line}")
    if config.system.device is None:
        config = with_proposed(config, {"system.device": device})
    from deeph.models.model_file import find_model

    model = find_model(
        config.model.model_dir, config.model.load_model_type, config.model.load_model_epoch
    )
    if config.file is not None:
        print("Settings of this run:")
        for line in describe(config):
            print(f"  {line}")
    from deeph.inference.predictor import Predictor

    predictor = Predictor.load(model)
    print(f"Model: {readable(model)} ({predictor.network}), on {device}")
    for line in predictor.notes:
        print(f"warning: {line}")
    into_inputs = config.process.infer.output_into == "to_input"
    if into_inputs:
        place = None
    else:
        from deeph.training.runs import make_run

        place = make_run(config.data.outputs_dir)
        write_text(place / "infer.toml", to_toml(config))
    return _write_all(config, predictor, folders, incomplete, place)


def _inputs(configs: Sequence[InferConfig]) -> tuple[list[StructureFolder], dict[str, str]]:
    """List the structures to predict, with ids that are unique over all input folders.

    Beside them what is wrong with folders that lack POSCAR or info.json.
    """
    from deeph_spec.dataset import StructureFolder
    from deeph_spec.errors import InputError

    from deeph.cli.data import open_dataset

    datasets = [open_dataset(c.data.inputs_dir, c.data.dft.data_dir_depth) for c in configs]
    folders = [folder for dataset in datasets for folder in dataset]
    if len({folder.id for folder in folders}) < len(folders):
        folders = [
            StructureFolder(folder.path, f"{dataset.path.resolve().name}/{folder.id}")
            for dataset in datasets
            for folder in dataset
        ]
    ids = [folder.id for folder in folders]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise InputError(f"{twice[0]}: two structures would be written under this name")
    incomplete = {
        id: f"{dataset.path}: {file} is missing"
        for dataset in datasets
        for id, file in dataset.incomplete.items()
    }
    return folders, incomplete


def _write_all(
    config: InferConfig,
    predictor: Any,
    folders: Sequence[StructureFolder],
    incomplete: dict[str, str],
    place: Path | None,
) -> int:
    """Predict and write one structure after the other; a broken one does not stop the others."""
    from deeph_spec.files import readable

    from deeph.inference.writer import write_beside_input, write_folder

    failed = dict(incomplete)
    sound = _sound(config, predictor, folders, failed)
    sound, batch_size = _fitting(config, predictor, sound, failed)
    total = len(folders) + len(incomplete)
    done, shown_at, started = 0, 0.0, time.monotonic()
    shapes = config.process.infer.multi_way_jit_num
    for folder, result in _predictions(predictor, sound, batch_size, shapes):
        if isinstance(result, str):
            failed[folder.id] = result
            continue
        if place is None:
            target = write_beside_input(folder, result, predictor)
        else:
            target = write_folder(place / "dft" / folder.id, folder, result, predictor)
        done += 1
        now = time.monotonic()
        if done <= _ALWAYS or now - shown_at > _EVERY or done + len(failed) == total:
            shown_at = now
            atoms = len(folder.structure)
            counted = f"{done + len(failed)}/{total}"
            print(f"  {counted}  {folder.id}: {atoms} atoms -> {readable(target)}")
    seconds = time.monotonic() - started
    for id, line in failed.items():
        print(f"error: {id}: {line}", file=sys.stderr)
    location = f" in {readable(place)}" if place is not None else " beside their inputs"
    print(f"{done} of {total} structures predicted{location} ({seconds:.1f} s)")
    if done and place is not None:
        where = readable(place)
        known = all(predictor.target.labelled(folder) for folder in folders)
        print(f"Compare with DFT: deeph eval {where}{'' if known else ' REFERENCE'}")
        if predictor.target.kind == "H":
            print(f"Draw the bands:   dock band {where}")
    return 1 if failed else 0


def _problem(folder: StructureFolder, *, check: bool) -> str | None:
    """Say in a line why a folder cannot be predicted, or nothing."""
    from deeph_spec.validation import validate_folder

    from deeph.cli.data import plain

    if not folder.has("overlap"):
        return f"{folder.path}: overlap.h5 is missing; dock convert makes it from a DFT run"
    if not check:
        return None
    read = ("", "POSCAR", "info.json", "overlap.h5")  # a label that is there is not read
    found = validate_folder(folder.path)
    errors = [f for f in found if f.severity == "error" and f.file in read]
    return plain(errors[0]) if errors else None


def _sound(
    config: InferConfig,
    predictor: Any,
    folders: Sequence[StructureFolder],
    failed: dict[str, str],
) -> list[StructureFolder]:
    """List the folders that can be predicted, note why others cannot, and warn of odd ones."""
    from deeph_spec.errors import InputError

    sound, odd = [], 0
    for folder in folders:
        problem = _problem(folder, check=config.data.dft.validation_check)
        if problem is None:
            try:
                unusual = predictor.examine(folder)
            except InputError as error:
                problem = str(error)
            else:
                odd += bool(unusual)
                for line in unusual if odd <= _ALWAYS else ():
                    print(f"warning: {line}")
        if problem is None:
            sound.append(folder)
        else:
            failed[folder.id] = problem
    if odd > _ALWAYS:
        print(f"warning: {odd - _ALWAYS} more structures lie far outside the training data")
    return sound


def _fitting(
    config: InferConfig,
    predictor: Any,
    folders: list[StructureFolder],
    failed: dict[str, str],
) -> tuple[list[StructureFolder], int]:
    """Leave out what memory does not hold, and choose how many structures go at once."""
    from deeph_spec.matrix_files import read_pairs

    settings = config.process.infer
    sizes = {
        folder.id: (len(folder.structure), len(read_pairs(folder.file("overlap"))))
        for folder in folders
    }
    plan = predictor.plan(sizes, settings.dataloader.batch_size, settings.multi_way_jit_num)
    for line in plan.lines:
        print(line)
    failed.update(plan.too_large)
    return [folder for folder in folders if folder.id not in plan.too_large], plan.batch_size


def _predictions(
    predictor: Any, folders: Sequence[StructureFolder], batch_size: int, shapes: int
) -> Iterator[tuple[StructureFolder, BlockMatrix | str]]:
    """Yield each structure with its prediction, or with the line that says why there is none.

    When a batch fails, what is left is predicted one by one, so that the one that is to blame is
    named and the others are not lost.
    """
    from deeph_spec.errors import InputError

    waiting = {folder.id: folder for folder in folders}
    try:
        for folder, matrix in predictor.predict(folders, batch_size, shapes):
            del waiting[folder.id]
            yield folder, matrix
        return
    except InputError as error:
        if len(waiting) == 1:
            yield next(iter(waiting.values())), str(error)
            return
    for folder in list(waiting.values()):
        try:
            ((_, matrix),) = predictor.predict([folder])
        except InputError as error:
            yield folder, str(error)
        else:
            yield folder, matrix
