"""What a model is, apart from its weights: enough to build it again."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from nextaisle.contract.errors import InputError

# Raised when stored weights would mean something else to this code: older models are then refused, and trained again.
VERSION = 2
MODEL_NAMES = ("transformer", "lstm", "lstm_attention")


@dataclass(frozen=True)
class ModelSpec:
    """Sizes and inputs of a NextItemModel, as stored beside its weights in JSON.

    | field             | example                        | meaning                                                |
    |-------------------|--------------------------------|--------------------------------------------------------|
    | length            | 400                            | inputs it looks at, at most                            |
    | span              | 100                            | the latest of them, which the encoder sees; 0: all     |
    | item_count        | 68509                          | items it knows: indices 1..item_count                  |
    | inputs            | ("event_type", "session_end")  | what it sees beside the item                           |
    | cardinalities     | {"department": 31}             | values of each item attribute, 0 (unknown) not counted |
    | has_pointer       | True                           | whether it can point at its inputs: pointer.py         |
    | version           | 2                              | of the formulas that the weights are for               |
    | vocabulary_hash   | "9f31.."                       | contract/vocabulary.py: the item behind each index     |
    """

    name: str
    dimension: int
    blocks: int
    heads: int
    dropout: float
    length: int
    item_count: int
    inputs: tuple[str, ...] = ()
    cardinalities: dict[str, int] = field(default_factory=dict)
    vocabulary_hash: str = ""
    has_pointer: bool = False
    span: int = 0
    version: int = VERSION

    @property
    def encoded_length(self) -> int:
        """Inputs that the encoder sees, at most."""
        return min(self.span, self.length) if self.span else self.length

    @property
    def attributes(self) -> tuple[str, ...]:
        """The item attributes among the inputs, in the order of `inputs`."""
        return tuple(name for name in self.inputs if name in self.cardinalities)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            InputError: names the fields that are missing or unknown, the other version, or the unknown model.
        """
        expected = set(cls.__dataclass_fields__)
        if set(stored) != expected:
            raise InputError(f"a model's spec has the fields {sorted(stored)}, expected {sorted(expected)}")
        if stored["version"] != VERSION:
            raise InputError(
                f"the stored model is of version {stored['version']}, this code reads {VERSION}; train anew"
            )
        if stored["name"] not in MODEL_NAMES:
            raise InputError(f"the stored model is a {stored['name']!r}, expected one of {MODEL_NAMES}")
        return cls(**{**stored, "inputs": tuple(stored["inputs"])})
