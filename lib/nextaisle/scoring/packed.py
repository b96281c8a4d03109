"""The model on its way to Spark's workers. I items with the padding at 0, D width."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nextaisle.model import NextItemModel, load_model

# Models that a worker keeps: tonight's, and the champion it is judged beside.
_KEPT = 2
_ready: dict[str, "ReadyModel"] = {}


@dataclass(frozen=True)
class PackedModel:
    """A model's files by name, as they are broadcast."""

    files: dict[str, bytes]
    digest: str


@dataclass(frozen=True)
class ReadyModel:
    """A loaded model and its items' vectors [I, D]."""

    model: NextItemModel
    vector_ID: Tensor


def pack_model(folder: Path) -> PackedModel:
    """Reads the files that `save_model` wrote."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return PackedModel(files, digest.hexdigest())


def unpack_model(packed: PackedModel) -> ReadyModel:
    """The model, loaded once per worker process, which then computes on one thread: Spark runs one task per core."""
    if packed.digest not in _ready:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory(prefix="nextaisle-") as folder:
            for name, content in packed.files.items():
                Path(folder, name).write_bytes(content)
            model = load_model(folder)
        with torch.inference_mode():
            vectors = model.item_vectors()
        if len(_ready) >= _KEPT:
            _ready.clear()
        _ready[packed.digest] = ReadyModel(model, vectors)
    return _ready[packed.digest]
