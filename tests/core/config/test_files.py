"""Whole files: every documented key is known, and means what it says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from deeph.config import (
    InferConfig,
    TrainConfig,
    check,
    describe,
    infer_settings,
    load_infer,
    load_train,
    to_toml,
)
from deeph.config.key import Declaration, KeySpec, default_of, key_specs, lookup
from deeph.config.reference import reference_page

TRAIN = """
[system]
note = "every documented key of a training file"
device = "gpu*8:0"
float_type = "FP64"
random_seed = 7
log_level = "Debug"
jax_memory_preallocate = false
show_train_process_bar = false
[data]
inputs_dir = "inputs"
outputs_dir = "runs"
[data.dft]
data_dir_depth = 1
validation_check = false
[data.graph]
dataset_name = "bilayer"
graph_type = "hs"
storage_type = "memory"
common_orbital_types = "s3p2d1"
parallel_num = -1
only_save_graph = false
[data.model_save]
best = true
latest = true
latest_interval = 20
latest_num = 3
[model]
net_type = "Sparrow"
target_type = "H"
loss_type = "mae"
[model.advanced]
gaussian_basis_rmax = 8
net_irreps = "64x0e+48x1o+32x2e"
num_blocks = 4
num_heads = 2
enable_bs3b_layer = false
bs3b_orbital_types = ""
consider_parity = true
standardize_gauge = false
[process.train]
max_epoch = 2000
multi_way_jit_num = 4
ahead_of_time_compile = false
do_remat = false
[process.train.dataloader]
batch_size = 2
train_size = 320
validate_size = 40
test_size = 40
dataset_split_json = "split.json"
only_use_train_loss = false
[process.train.drop]
dropout_rate = 0.0
stochastic_depth = 0.0
proj_rate = 0.0
[process.train.optimizer]
type = "adam"
init_learning_rate = 1e-3
clip_norm_factor = 5.0
momentum = 0.7
betas = [0.9, 0.99]
weight = 1e-4
eps = 1e-9
[process.train.scheduler]
type = "warmup_cosine_decay"
min_learning_rate_scale = 1e-3
factor = 0.4
patience = 60
rtol = 0.02
cooldown = 20
accum_size = 1
init_scale = 0.2
warmup_steps = 100
decay_steps = 2e5
end_scale = 0.01
[process.train.continued]
enable = true
new_training_data = true
new_optimizer = true
previous_output_dir = "runs/earlier"
load_model_type = "best"
load_model_epoch = "-1"
"""

INFER = """
[system]
device = "cpu"
float_type = "fp32"
[data]
inputs_dir = "inputs"
outputs_dir = "predictions"
[data.dft]
data_dir_depth = 0
validation_check = true
[data.graph]
dataset_name = "bilayer-large"
graph_type = "S"
storage_type = "memory"
parallel_num = -1
only_save_graph = false
[model]
model_dir = "runs/earlier/model"
load_model_type = "latest"
load_model_epoch = 40
[process.infer]
output_type = "h5"
output_into = "to_input"
target_symmetrize = false
multi_way_jit_num = 3
[process.infer.dataloader]
batch_size = 4
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that writes a file where every path the examples name exists."""
    monkeypatch.chdir(tmp_path)
    for folder in ("inputs", "runs/earlier/model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "split.json").write_text("{}")

    def write(text: str) -> Path:
        (tmp_path / "settings.toml").write_text(text, encoding="utf-8")
        return tmp_path / "settings.toml"

    return write


def leaves(tables: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in tables.items():
        below = isinstance(value, dict)
        found |= leaves(value, f"{prefix}{name}.") if below else {prefix + name: value}
    return found


def test_the_training_example_holds_every_key_and_is_read(place: Callable[[str], Path]) -> None:
    ours = {spec.name for spec in key_specs(TrainConfig) if spec.said.ours}
    assert set(leaves(tomllib.loads(TRAIN))) == {s.name for s in key_specs(TrainConfig)} - ours
    config = load_train(place(TRAIN))
    assert config.system.float_type == "fp64"
    assert config.system.log_level == "debug"
    assert config.data.inputs_dir == Path.cwd() / "inputs"
    assert config.data.graph.graph_type == "HS"
    assert config.model.net_type == "normal"
    assert config.model.advanced.gaussian_basis_rmax == 8.0
    assert isinstance(config.model.advanced.gaussian_basis_rmax, float)
    assert config.process.train.optimizer.betas == (0.9, 0.99)
    assert config.process.train.scheduler.decay_steps == 200_000
    assert config.process.train.continued.load_model_epoch == -1
    assert not config.warnings
    for name, written in leaves(tomllib.loads(TRAIN)).items():
        value = lookup(config, name)
        if isinstance(value, Path):
            value = str(value.relative_to(Path.cwd()))
        if isinstance(value, tuple):
            value = list(value)
        if isinstance(written, str) and name != "model.net_type":
            value, written = str(value).lower(), written.lower()
        assert value == written or name == "model.net_type", name


def test_the_inference_example_holds_every_key_and_is_read(place: Callable[[str], Path]) -> None:
    only_shown = {
        "system.note",
        "system.random_seed",
        "system.log_level",
        "system.jax_memory_preallocate",
        "system.show_train_process_bar",
    }
    assert (
        set(leaves(tomllib.loads(INFER))) == {s.name for s in key_specs(InferConfig)} - only_shown
    )
    config = load_infer(place(INFER))
    assert config.model.model_dir == Path.cwd() / "runs/earlier/model"
    assert config.model.load_model_epoch == 40
    assert config.process.infer.output_into == "to_input"
    assert config.process.infer.target_symmetrize is False
    assert config.process.infer.dataloader.batch_size == 4


def test_a_minimal_file_gets_the_documented_defaults(place: Callable[[str], Path]) -> None:
    config = load_train(place('[data]\ninputs_dir = "inputs"\noutputs_dir = "runs"\n'))
    assert config.system.random_seed == 137
    assert config.process.train.max_epoch == 10_000
    assert config.process.train.optimizer.type == "muon"
    assert config.process.train.optimizer.init_learning_rate == 0.02
    assert config.process.train.scheduler.patience == 500
    assert config.model.advanced.gaussian_basis_rmax == 7.5
    # What is better left to the data or the machine when the key is absent:
    assert config.process.train.dataloader.train_size is None
    assert config.model.advanced.net_irreps is None
    assert config.system.device is None
    assert config.data.dft.data_dir_depth is None


def test_an_empty_text_is_an_absent_key(place: Callable[[str], Path]) -> None:
    text = TRAIN.replace('"64x0e+48x1o+32x2e"', '""').replace('"split.json"', '""')
    config = load_train(place(text.replace('"gpu*8:0"', '""').replace('"s3p2d1"', '""')))
    assert config.model.advanced.net_irreps is None
    assert config.system.device is None
    assert config.process.train.dataloader.dataset_split_json is None
    assert config.data.graph.common_orbital_types == ""


def test_the_written_settings_read_back_as_the_same(place: Callable[[str], Path]) -> None:
    config = load_train(place(TRAIN))
    again = load_train(place(to_toml(config)))
    for spec in key_specs(TrainConfig):
        assert lookup(again, spec.name) == lookup(config, spec.name), spec.name


def test_settings_need_no_file(tmp_path: Path) -> None:
    config = infer_settings(
        {
            "data": {"inputs_dir": str(tmp_path), "outputs_dir": str(tmp_path / "out")},
            "model": {"model_dir": str(tmp_path)},
        }
    )
    assert config.file is None
    assert config.data.outputs_dir == tmp_path / "out"


@pytest.mark.parametrize("written", ["true", '"True"'])
def test_a_text_of_true_may_be_written_without_quotes(
    place: Callable[[str], Path], written: str
) -> None:
    text = '[data]\ninputs_dir = "inputs"\noutputs_dir = "runs"\n'
    config = load_train(place(f"{text}[model.advanced]\ntime_reversal = {written}\n"))
    assert config.model.advanced.time_reversal == "true"


def test_the_accurate_network_as_files_of_deeph_pack_ask_for_it(
    place: Callable[[str], Path],
) -> None:
    text = TRAIN.replace('"Sparrow"', '"Eagle"').replace("do_remat = false", "do_remat = true")
    text = text.replace("consider_parity = true", "consider_parity = false")
    text = text.replace("64x0e+48x1o+32x2e", "64x0e+48x1e+32x2e").replace(
        "num_heads = 2", "num_heads = 4"
    )
    config = load_train(place(text))
    assert config.model.net_type == "accurate"
    assert config.model.advanced.num_heads == 4
    assert config.process.train.do_remat
    assert "model.advanced.num_heads = 4" in "\n".join(describe(config))
    assert "num_heads" not in "\n".join(describe(load_train(place(TRAIN))))


def test_a_default_may_follow_another_key() -> None:
    said = Declaration(note="", varies=("a.type", {"quick": 2.0}))
    spec = KeySpec("a.rate", "float", 1.0, said)
    assert default_of(spec, {"a.type": "quick"}) == 2.0
    assert default_of(spec, {"a.type": "slow"}) == 1.0


def test_description_names_value_and_origin(place: Callable[[str], Path]) -> None:
    text = "\n".join(describe(load_train(place(TRAIN), ["max_epoch=5"])))
    assert "process.train.max_epoch = 5 " in text
    assert any(
        line.startswith("process.train.max_epoch") and line.endswith("(command line)")
        for line in text.splitlines()
    )
    assert "process.train.optimizer.eps = 1e-09" in text
    assert "process.train.optimizer.momentum" not in text  # not read by adam
    assert "process.train.scheduler.patience" not in text  # not read by the cosine


def test_check_tells_the_two_kinds_of_files_apart(place: Callable[[str], Path]) -> None:
    assert isinstance(check(place(TRAIN)).config, TrainConfig)
    assert isinstance(check(place(INFER)).config, InferConfig)


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference_page(), (
        "stale: run python -m deeph.config.reference docs/reference/configuration.md"
    )
