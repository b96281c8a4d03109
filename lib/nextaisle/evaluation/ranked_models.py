"""Trained models as rankers inside Spark's workers. B cases, D width, I items, K ranks."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nextaisle.evaluation.contexts import Contexts
from nextaisle.evaluation.rankers import Baselines, fill
from nextaisle.model import Inputs, NextItemModel, encode_histories, load_model
from nextaisle.scoring.topk import top_k

Array = npt.NDArray[Any]

_ready: dict[str, "ReadyModel"] = {}


@dataclass(frozen=True)
class PackedModel:
    """A model's files by name, as they are sent to the workers."""

    files: dict[str, bytes]
    digest: str


@dataclass(frozen=True)
class ReadyModel:
    """A loaded model and its items' vectors."""

    model: NextItemModel
    vector_ID: Tensor


def pack_model(folder: Path) -> PackedModel:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    digest = hashlib.sha256(b"\0".join(name.encode() + content for name, content in files.items())).hexdigest()
    return PackedModel(files, digest)


def unpack_model(packed: PackedModel) -> ReadyModel:
    """The model, loaded once per worker process, which then computes on one thread: Spark runs one task per core."""
    if packed.digest not in _ready:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory(prefix="nextaisle-") as folder:
            for name, content in packed.files.items():
                Path(folder, name).write_bytes(content)
            model = load_model(folder)
        with torch.inference_mode():
            _ready[packed.digest] = ReadyModel(model, model.item_vectors())
    return _ready[packed.digest]


def rank_model(ready: ReadyModel, baselines: Baselines, contexts: Contexts, k: int, hides_seen: bool) -> Array:
    """The model's lists [B, K] over every item that it knows and that occurred before the test.

    Where it knows nothing of a context, or runs out of items, what is popular takes the places.
    """
    spec = ready.model.spec
    inputs = encode_histories(
        contexts.offset_B1, contexts.item_E, contexts.event_type_E, contexts.is_session_start_E, spec.length,
        spec.item_count,
    )  # fmt: skip
    seen = np.split(contexts.item_E, contexts.offset_B1[1:-1]) if hides_seen else None
    state_BD = _states(ready.model, inputs)
    index_BK, _ = top_k(state_BD, ready.vector_ID, k, seen, baselines.tie_key_I, baselines.unseen_E)
    index_BK[inputs.length_B.numpy() == 0] = 0
    return fill(index_BK, baselines.popular_P, contexts, k, hides_seen)


def _states(model: NextItemModel, inputs: Inputs) -> Tensor:
    with torch.inference_mode():
        return model.state_for_ranking(inputs)
