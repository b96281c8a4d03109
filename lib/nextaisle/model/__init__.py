"""The models: plain torch, no Spark, no Horovod, no MLflow."""

from nextaisle.model.encoding import encode_histories
from nextaisle.model.inputs import Inputs
from nextaisle.model.next_item import NextItemModel, Question
from nextaisle.model.spec import ModelSpec
from nextaisle.model.storage import load_model, save_model

__all__ = ["Inputs", "ModelSpec", "NextItemModel", "Question", "encode_histories", "load_model", "save_model"]
