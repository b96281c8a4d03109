"""A model as files: weights in safetensors, its spec in JSON. Nothing has to be unpickled to open them."""

import json
import os
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from nextaisle.contract.errors import InputError
from nextaisle.model.next_item import NextItemModel
from nextaisle.model.spec import ModelSpec

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "weights.safetensors"


def save_model(model: NextItemModel, folder: Path | str) -> None:
    """Writes the model into `folder` in one move: a reader, or a run after a kill, sees all of it or nothing."""
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged, replaced = (target.with_name(f".{target.name}.{mark}.{os.getpid()}") for mark in ("new", "old"))
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, str(staged / WEIGHTS_FILE))
    (staged / SPEC_FILE).write_text(json.dumps(model.spec.to_json(), indent=1) + "\n", encoding="utf-8")
    if target.exists():
        target.rename(replaced)
    staged.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def load_model(folder: Path | str) -> NextItemModel:
    """The model in `folder`, ready to rank (no dropout).

    Raises:
        InputError: a file is missing or unreadable, or the weights are not those of the spec; names the differences.
    """
    spec_file, weights_file = Path(folder) / SPEC_FILE, Path(folder) / WEIGHTS_FILE
    try:
        spec = ModelSpec.from_json(json.loads(spec_file.read_text(encoding="utf-8")))
        weights = load_file(str(weights_file))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no model that can be read ({error}); train_model writes one") from error
    except Exception as error:  # safetensors has an error of its own, outside the usual ones
        raise InputError(f"{weights_file} is no readable safetensors file: {error}") from error
    model = NextItemModel(spec)
    _check_weights(model, {name: tuple(tensor.shape) for name, tensor in weights.items()}, weights_file)
    model.load_state_dict(weights)
    return model.eval()


def _check_weights(model: NextItemModel, found: dict[str, tuple[int, ...]], file: Path) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    differences = [
        f"{name}: found {found.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise InputError(f"the weights in {file} are not those of its spec:\n  " + "\n  ".join(differences))
