import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nextaisle.contract.errors import InputError
from nextaisle.model import ModelSpec, NextItemModel, load_model, save_model
from nextaisle.model.inputs import Inputs

SPEC = ModelSpec("transformer", 8, 1, 1, 0.1, 4, 5, ("event_type", "brand"), {"brand": 2}, "5:abc")


def saved(folder: Path) -> NextItemModel:
    model = NextItemModel(SPEC, {"brand": np.array([0, 1, 2, 1, 2, 1])}).eval()
    save_model(model, folder)
    return model


def test_a_loaded_model_is_the_one_saved(tmp_path: Path) -> None:
    model, loaded = saved(tmp_path / "m"), load_model(tmp_path / "m")
    inputs = Inputs(*(torch.tensor([[1, 2]]) for _ in range(3)), torch.tensor([2]))  # type: ignore[misc]
    assert loaded.spec == SPEC
    assert not loaded.training
    assert torch.equal(loaded.ask(inputs).state_BD, model.ask(inputs).state_BD)


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    model = saved(tmp_path / "m")
    assert torch.equal(load_model(tmp_path / "m").item.weight, model.item.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["spec.json", "weights.safetensors"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model that can be read"):
        load_model(tmp_path)


def test_weights_of_another_shape_are_refused_and_every_difference_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    (tmp_path / "m" / "spec.json").write_text(json.dumps(spec | {"item_count": 6}))
    with pytest.raises(InputError, match=r"(?s)item.weight: found \(6, 8\), expected \(7, 8\).*item_bias"):
        load_model(tmp_path / "m")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    weights = tmp_path / "m" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="safetensors"):
        load_model(tmp_path / "m")


def test_a_spec_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    (tmp_path / "m" / "spec.json").write_text(json.dumps(spec | {"depth": 6}))
    with pytest.raises(InputError, match="depth"):
        load_model(tmp_path / "m")
