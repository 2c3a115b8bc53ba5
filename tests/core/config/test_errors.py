"""What a user can get wrong in a file, and the line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from deeph.config import check, load_infer, load_train
from deeph_spec.errors import InputError

MINIMAL = '[data]\ninputs_dir = "inputs"\noutputs_dir = "runs"\n'
MINIMAL_INFER = MINIMAL + '[model]\nmodel_dir = "model"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failure(text: str, overrides: tuple[str, ...] = (), infer: bool = False) -> str:
    """Return the line that reading `text` fails with."""
    Path("file.toml").write_text(text, encoding="utf-8")
    load = load_infer if infer else load_train
    with pytest.raises(InputError) as caught:
        load("file.toml", overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


REFUSED = [
    ("system.float_type", '"bf16"', "accuracy is not proven"),
    ("system.float_type", '"tf32"', "accuracy is not proven"),
    ("system.device", '"gpu*4:0-1"', "several devices in one run are not part of this version"),
    ("system.device", '"cpu*8"', "the CPU is one device"),
    ("data.graph.graph_type", '"Sap"', "pattern of the overlap alone"),
    ("data.graph.storage_type", '"disk"', "graphs on disk are not part"),
    ("data.graph.parallel_num", "8", "graphs are built by one process"),
    ("data.graph.only_save_graph", "true", "never saved in this version"),
    ("model.net_type", '"owl"', "is not described anywhere"),
    ("model.loss_type", '"ai2dft"', "needs a DFT engine"),
    ("model.loss_type", '"ai2dft_node"', "needs a DFT engine"),
    ("model.loss_type", '"hopad"', "needs a DFT engine"),
    ("model.loss_type", '"aims"', "needs a DFT engine"),
    ("model.advanced.enable_bs3b_layer", "true", "second orbital set"),
    ("model.advanced.bs3b_orbital_types", '"s15p12d7"', "second orbital set"),
    ("process.train.ahead_of_time_compile", "true", "compiled when they are first met"),
]


@pytest.mark.parametrize(("key", "value", "reason"), REFUSED)
def test_a_value_that_is_not_available_is_refused_with_the_reason(
    key: str, value: str, reason: str
) -> None:
    section, _, last = key.rpartition(".")
    message = failure(f"{MINIMAL}\n[{section}]\n{last} = {value}\n")
    assert message.startswith(f"file.toml: {key} = {value}: ")
    assert reason in message


REFUSED_INFER = [
    ("data.graph.graph_type", '"Sap"', "pattern of the overlap alone"),
    ("data.graph.graph_type", '"HS"', "takes its pairs from the overlap"),
    ("data.graph.storage_type", '"disk"', "graphs on disk"),
    ("process.infer.output_type", '"petsc"', "PETSc binaries are not written"),
]


@pytest.mark.parametrize(("key", "value", "reason"), REFUSED_INFER)
def test_inference_refuses_with_the_reason(key: str, value: str, reason: str) -> None:
    section, _, last = key.rpartition(".")
    message = failure(f"{MINIMAL_INFER}\n[{section}]\n{last} = {value}\n", infer=True)
    assert f"{key} = {value}: " in message
    assert reason in message


WRONG = [
    ("process.train.max_epoch", '"many"', "expected a whole number (1 or more)"),
    ("process.train.max_epoch", "0", "expected 1 or more"),
    ("process.train.max_epoch", "1.5", "expected a whole number"),
    ("process.train.max_epoch", "true", "expected a whole number"),
    ("process.train.max_epoch", "inf", "expected a whole number"),
    ("process.train.optimizer.betas", "[0.9]", "expected a list of two numbers"),
    ("process.train.optimizer.betas", "[0.9, 1.0]", "expected each from 0 to below 1"),
    ("process.train.optimizer.init_learning_rate", "-1e-3", "expected above 0"),
    ("process.train.optimizer.type", '"adamax"', "expected one of muon, sgd, adam, adamw"),
    ("process.train.optimizer.ema_decay", "1.0", "expected from 0 to below 1"),
    ("process.train.drop.dropout_rate", "1.0", "expected from 0 to below 1"),
    ("process.train.scheduler.factor", "1.0", "expected above 0 and below 1"),
    ("process.train.scheduler.accum_size", "0", "expected -1, or 1 or more"),
    ("process.train.dataloader.train_size", "1.0", "a fraction of them below 1"),
    ("process.train.dataloader.train_size", "-3", "expected structures"),
    ("model.advanced.consider_parity", '"true"', "expected true or false"),
    ("model.advanced.num_heads", "0", "expected 1 or more"),
    ("model.advanced.huber_delta", "0", "expected above 0"),
    ("model.advanced.time_reversal", '"yes"', "expected one of auto, true, false"),
    ("model.advanced.consider_parity", "1", "expected true or false"),
    ("model.advanced.net_irreps", '"64x0e+x1o"', '"x1o" is not an irrep'),
    ("model.advanced.net_irreps", '"64x0e+0x1o"', "at least one channel"),
    ("model.loss_type", '"mea"', "expected one of mse, mae, wmae, huber; did you mean m"),
    ("model.net_type", '"nomal"', "did you mean normal?"),
    ("system.random_seed", "-1", "expected from 0 to 4294967295"),
    ("process.train.max_epoch", "2026-01-01", "expected a whole number"),
    ("data.graph.common_orbital_types", '"3s"', "s2p1"),
    ("data.inputs_dir", "5", "expected a path"),
    ("system.device", '"gpu*2:2"', "beyond the 2 devices"),
    ("system.device", '"gpu*4:3-1"', "is empty"),
    ("system.device", '"xpu"', "expected one of cpu, gpu"),
]


@pytest.mark.parametrize(("key", "value", "expected"), WRONG)
def test_a_wrong_value_is_named_with_what_is_expected(key: str, value: str, expected: str) -> None:
    section, _, last = key.rpartition(".")
    text = MINIMAL if section != "data" else '[data]\noutputs_dir = "runs"\n'
    text = (
        f"{text}\n[{section}]\n{last} = {value}\n"
        if section != "data"
        else f"{text}{last} = {value}\n"
    )
    message = failure(text)
    assert message.startswith(f"file.toml: {key} = ")
    assert expected in message


UNKNOWN = [
    ("[model]\nlost_type = 'mse'", "model.lost_type", "did you mean model.loss_type?"),
    (
        "[process.train]\nbatch_size = 2",
        "process.train.batch_size",
        "did you mean process.train.dataloader.batch_size?",
    ),
    ("[model]\nnum_block = 3", "model.num_block", "did you mean model.advanced.num_blocks?"),
    ("[proces.train]\nmax_epoch = 2", "proces", "unknown table; did you mean process?"),
    ("[system]\nqq = 2", "system.qq", "unknown key; known: system.note, system.device"),
    (
        "[process.train.optimizer]\nlr = 1e-3",
        "process.train.optimizer.lr",
        "known: process.train.optimizer.type, process.train.optimizer.init_learning_rate",
    ),
    (
        "[process.train]\nlearning_rate = 1e-3",
        "process.train.learning_rate",
        "did you mean process.train.optimizer.init_learning_rate?",
    ),
    ("[optimizer]\ntype = 'adam'", "optimizer", "did you mean process.train.optimizer?"),
    ("[[process.train]]\nmax_epoch = 1", "process.train", "expected a table [process.train]"),
    ("[process]\ntrain = 3", "process.train", "expected a table [process.train]"),
    ("[process.infer]\noutput_type = 'h5'", "process.infer", "unknown table"),
    ("[model]\nmodel_dir = 'model'", "model.model_dir", "other command's files"),
]


@pytest.mark.parametrize(("text", "key", "hint"), UNKNOWN)
def test_an_unknown_key_names_the_nearest_known_one(text: str, key: str, hint: str) -> None:
    message = failure(MINIMAL + text)
    assert message.startswith(f"file.toml: {key}: ")
    assert hint in message


BROKEN = [
    ("[model.advanced]\nconsider_parity = True", "consider_parity = True; write true or false"),
    ("[process.train]\nmax_epoch = 1\nmax_epoch = 2", "max_epoch = 2, which is set before"),
    ("[system]\nnote = my run", "note = my run; a text needs quotes"),
    ("[model.advanced]\nnet_irreps = 8x0e+8x1o", "a text needs quotes"),
    ("[process.train.scheduler]\nrtol = 0,05", "rtol = 0,05; write numbers with a point"),
    ('[system]\nnote = "C:\\data"', 'write paths with "/"'),
    ("[system", "(at line 4, column 8): [system"),
]


@pytest.mark.parametrize(("text", "hint"), BROKEN)
def test_what_is_no_toml_is_quoted_with_a_hint(text: str, hint: str) -> None:
    message = failure(f"{MINIMAL}{text}\n")
    assert message.startswith("file.toml: not valid TOML: ")
    assert hint in message


def test_names_are_compared_without_case_and_underscores() -> None:
    text = f'{MINIMAL}[process.train.scheduler]\ntype = "WarmupCosineDecay"\n'
    Path("file.toml").write_text(text, encoding="utf-8-sig")
    config = load_train("file.toml", ["float_type=float64"])
    assert config.process.train.scheduler.type == "warmup_cosine_decay"
    assert config.system.float_type == "fp64"


def test_broken_toml_names_file_and_line() -> None:
    message = failure(MINIMAL + "[process.train\nmax_epoch = 3\n")
    assert message.startswith("file.toml: not valid TOML: ")
    assert "line 4" in message


def test_a_missing_file_names_the_others_of_its_folder() -> None:
    Path("train.toml").write_text(MINIMAL)
    with pytest.raises(
        InputError, match=r"^tain\.toml: no such file; its folder holds train\.toml"
    ):
        load_train("tain.toml")
    with pytest.raises(InputError, match="is a folder, expected a TOML file"):
        load_train("inputs")


def test_a_file_that_is_not_text_is_an_error() -> None:
    Path("file.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_train("file.toml")


def test_a_key_that_must_be_set_is_named() -> None:
    message = failure('[data]\ninputs_dir = "inputs"\n')
    assert message.startswith("file.toml: data.outputs_dir: must be set: ")


def test_one_problem_is_raised_and_check_lists_all() -> None:
    text = '[data]\ninputs_dir = "inputs"\n[model]\nloss_type = "hopad"\n'
    assert "(and 1 more: deeph check file.toml lists them)" in failure(text)
    reading = check("file.toml")
    assert reading.config is None
    assert len(reading.problems) == 2


@pytest.mark.parametrize("right", ["", 'dataset_split_json = "split.json"\n'])
def test_the_misspelt_split_is_accepted_with_a_warning(right: str) -> None:
    Path("split.json").write_text("{}")
    text = f'{MINIMAL}[process.train.dataloader]\n{right}dateset_split_json = "split.json"\n'
    Path("file.toml").write_text(text)
    config = load_train("file.toml")
    assert config.process.train.dataloader.dataset_split_json == Path.cwd() / "split.json"
    (warning,) = config.warnings
    assert "dateset_split_json is read as" in warning


def test_the_two_spellings_of_the_split_must_agree() -> None:
    text = (
        f"{MINIMAL}[process.train.dataloader]\n"
        'dataset_split_json = "a.json"\ndateset_split_json = "b.json"\n'
    )
    assert "is a misspelling of" in failure(text)
    assert "differs from it; keep one" in failure(text)


def test_odd_irreps_need_parity() -> None:
    text = f'{MINIMAL}[model.advanced]\nnet_irreps = "8x0e+8x1o"\nconsider_parity = %s\n'
    assert "8x1o is odd under inversion" in failure(text % "false")
    Path("file.toml").write_text(text % "true")
    assert load_train("file.toml").model.advanced.consider_parity


def test_learning_modulo_the_overlap_needs_the_overlap() -> None:
    text = f"{MINIMAL}[model.advanced]\nstandardize_gauge = true\n[data.graph]\ngraph_type = %s\n"
    message = failure(text % '"H"')
    assert 'needs the overlaps, but data.graph.graph_type is "H"; set graph_type = "HS"' in message
    Path("file.toml").write_text(text % '"HS"')
    assert load_train("file.toml").model.advanced.standardize_gauge


@pytest.mark.parametrize(
    "key",
    ["loss_type=wmae", "loss_type=Huber", "loss_average=element", "loss_space=irreps"],
)
def test_losses_by_name(key: str) -> None:
    Path("file.toml").write_text(MINIMAL)
    assert load_train("file.toml", [key])


def test_a_rate_of_another_optimiser_is_warned_of() -> None:
    Path("file.toml").write_text(MINIMAL)
    (warning,) = load_train("file.toml", ["init_learning_rate=2e-3"]).warnings
    assert "0.002 is given without process.train.optimizer.type, which is muon" in warning
    full = "process.train.optimizer.type=adamw"
    for fine in (["init_learning_rate=0.01"], ["init_learning_rate=2e-3", full], [full]):
        assert not load_train("file.toml", fine).warnings
    assert load_train("file.toml").process.train.optimizer.init_learning_rate == 0.02
    assert load_train("file.toml", [full]).process.train.optimizer.init_learning_rate == 2e-3


def test_continuing_needs_a_run() -> None:
    text = f"{MINIMAL}[process.train.continued]\nenable = true\n"
    assert "must name the earlier run's folder" in failure(text)
    assert "holds no folder model/" in failure(f'{text}previous_output_dir = "inputs"\n')


def test_sizes_that_leave_nothing_are_refused() -> None:
    text = f"{MINIMAL}[process.train.dataloader]\n"
    assert "at least one structure" in failure(f"{text}train_size = 0\n")
    assert "add up to 1.1" in failure(f"{text}train_size = 0.9\nvalidate_size = 0.2\n")


class TestPaths:
    """Relative paths: the working directory first, then the folder of the file."""

    def test_the_working_directory_wins(self, folder: Path) -> None:
        (folder / "sub/inputs").mkdir(parents=True)
        (folder / "sub/file.toml").write_text(MINIMAL)
        config = load_train("sub/file.toml")
        assert config.data.inputs_dir == folder / "inputs"
        assert config.data.outputs_dir == folder / "runs"

    def test_outputs_go_where_the_inputs_were_found(self, folder: Path) -> None:
        (folder / "sub/inputs").mkdir(parents=True)
        (folder / "inputs").rmdir()
        (folder / "sub/file.toml").write_text(MINIMAL)
        config = load_train("sub/file.toml")
        assert config.data.inputs_dir == folder / "sub/inputs"
        assert config.data.outputs_dir == folder / "sub/runs"

    def test_both_places_are_named_when_neither_has_it(self, folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub/file.toml").write_text(MINIMAL.replace('"inputs"', '"input"'))
        with pytest.raises(InputError) as caught:
            load_train("sub/file.toml")
        expected = f"found neither {folder / 'input'} nor {folder / 'sub/input'}"
        assert expected in str(caught.value)


class TestOverrides:
    """Arguments ``key=value`` of the command line."""

    def test_the_unique_end_of_a_name_is_enough_and_text_needs_no_quotes(self) -> None:
        Path("file.toml").write_text(MINIMAL)
        config = load_train("file.toml", ["max_epoch=3", "loss_type=mae", "betas=[0.8, 0.9]"])
        assert config.process.train.max_epoch == 3
        assert config.model.loss_type == "mae"
        assert config.process.train.optimizer.betas == (0.8, 0.9)
        assert config.origins["process.train.max_epoch"] == "command line"

    def test_a_text_may_look_like_a_number(self, folder: Path) -> None:
        (folder / "2026").mkdir()
        Path("file.toml").write_text(MINIMAL)
        config = load_train("file.toml", ["inputs_dir=2026", "note=nan"])
        assert config.data.inputs_dir == folder / "2026"
        assert config.system.note == "nan"

    def test_an_end_that_is_not_unique_is_an_error(self) -> None:
        assert "write the full name" in failure(MINIMAL, ("type=adam",))

    def test_an_unknown_name_gets_the_nearest(self) -> None:
        message = failure(MINIMAL, ("max_epochs=3",))
        assert message.startswith("command line: max_epochs: unknown key")
        assert "did you mean process.train.max_epoch?" in message

    def test_a_wrong_value_names_the_command_line(self) -> None:
        message = failure(MINIMAL, ("max_epoch=few",))
        assert message.startswith('command line: process.train.max_epoch = "few": expected')

    def test_a_word_without_equals_is_an_error(self) -> None:
        assert "expected key=value" in failure(MINIMAL, ("max_epoch",))


@pytest.mark.parametrize(
    ("target", "graph", "said"),
    [
        ("H", "S", 'use "H" or "HS"'),
        ("H", "Rho", 'use "H" or "HS"'),
        ("Rho", "H", 'use "Rho" or "HS"'),
        ("S", "HS", 'use "S"'),
        ("tensor", "S", "model.advanced.target_name: must name a dataset"),
    ],
)
def test_the_graph_holds_what_is_learned(target: str, graph: str, said: str) -> None:
    text = f'{MINIMAL}[model]\ntarget_type = "{target}"\n'
    assert said in failure(f'{text}[data.graph]\ngraph_type = "{graph}"\n')


@pytest.mark.parametrize(("target", "graph"), [("H", "H"), ("Rho", "Rho"), ("energy", "S")])
def test_the_graph_follows_the_target(target: str, graph: str) -> None:
    Path("file.toml").write_text(f'{MINIMAL}[model]\ntarget_type = "{target}"\n')
    assert load_train("file.toml").data.graph.graph_type == graph
