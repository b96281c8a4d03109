"""Histories to rows of the table recommendations, by one mapInArrow."""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nextaisle.config import Scoring
from nextaisle.contract.tables import RECOMMENDATIONS
from nextaisle.contract.tokens import EVENT_TYPE_INDEX, EVENT_TYPES, PADDING_INDEX, UNKNOWN_TYPE_INDEX
from nextaisle.scoring.catalogue import Catalogue
from nextaisle.scoring.champion import Champion
from nextaisle.scoring.lists import Histories, Lists, Pairs, best_lists, excluded_items
from nextaisle.scoring.packed import unpack_model
from nextaisle.spark import local_rows

Array = npt.NDArray[Any]
Batches = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]

# The values of recommendations.reason.
MODEL, POPULAR = "model", "popular"
_SCHEMA = "user_id string, rank int, item_id string, score double, reason string"


def recommend(
    histories: DataFrame, listed_users: DataFrame, catalogue: Catalogue, champion: Champion, scoring: Scoring, day: date
) -> DataFrame:
    """Rows of recommendations for everyone with a history, and for those who are only listed.

    `histories`: user_id, item_indices, event_types, is_session_start, earlier_indices; one row per user.
    """
    spark = histories.sparkSession
    # A fixed number of partitions: adaptive execution would join small ones, though each takes long to compute, and
    # the same users stand in the same batches whenever the job is repeated. By a hash, since Spark takes a repartition
    # by the column itself for the shuffle before it, and leaves it out.
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 1)
    by_user = histories.repartition(partitions, F.xxhash64("user_id")).sortWithinPartitions("user_id")
    columns = by_user.select("user_id", "item_indices", "event_types", "is_session_start", "earlier_indices")
    scored = columns.mapInArrow(_scorer(histories, catalogue, champion, scoring), _SCHEMA)
    strangers = listed_users.join(histories.select("user_id"), "user_id", "left_anti")
    rows = scored.unionByName(strangers.crossJoin(F.broadcast(_popular_rows(histories, catalogue, scoring.k))))
    constants = {
        "score_date": F.lit(day), "variant": F.lit(scoring.variant), "model_version": F.lit(champion.model_version),
    }  # fmt: skip
    return (
        rows.withColumns(constants).select(*RECOMMENDATIONS.names).sortWithinPartitions("score_date", "user_id", "rank")
    )


def _scorer(histories: DataFrame, catalogue: Catalogue, champion: Champion, scoring: Scoring) -> Batches:
    context = histories.sparkSession.sparkContext
    packed, known_items = context.broadcast(champion.packed), context.broadcast(catalogue)
    k, exclude = scoring.k, scoring.exclude

    def score(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            if len(batch):
                events = _histories(batch)
                excluded = excluded_items(events, _earlier(batch), exclude)
                lists = best_lists(unpack_model(packed.value), known_items.value, events, excluded, k)
                yield _rows(batch.column("user_id"), lists, known_items.value)

    return score


def _histories(batch: pa.RecordBatch) -> Histories:
    item_indices = batch.column("item_indices")
    offset_B1 = np.concatenate([[0], np.cumsum(pc.list_value_length(item_indices).to_numpy())])
    place = pc.index_in(batch.column("event_types").flatten(), value_set=pa.array(EVENT_TYPES))
    indices = pa.array(EVENT_TYPE_INDEX[name] for name in EVENT_TYPES)
    types = pc.fill_null(indices.take(place), UNKNOWN_TYPE_INDEX)
    is_start = batch.column("is_session_start").flatten().to_numpy(zero_copy_only=False)
    return Histories(offset_B1, item_indices.flatten().to_numpy(), types.to_numpy(), is_start)


def _earlier(batch: pa.RecordBatch) -> Pairs:
    lists = batch.column("earlier_indices")
    length_B = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return Pairs(np.repeat(np.arange(len(length_B)), length_B), lists.flatten().to_numpy())


def _rows(user_ids: pa.Array, lists: Lists, catalogue: Catalogue) -> pa.RecordBatch:
    """One row per place of a list, users and ranks ascending; places beyond a list's end are left out."""
    user_R, place_R = np.nonzero(lists.index_BK != PADDING_INDEX)
    reasons = pa.array([MODEL, POPULAR])
    columns = [
        user_ids.take(pa.array(user_R)),
        pa.array((place_R + 1).astype(np.int32)),
        catalogue.item_id_I.take(pa.array(lists.index_BK[user_R, place_R])),
        pa.array(lists.score_BK[user_R, place_R].astype(np.float64)),
        reasons.take(pa.array(lists.is_popular_BK[user_R, place_R].astype(np.int8))),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["user_id", "rank", "item_id", "score", "reason"])


def _popular_rows(histories: DataFrame, catalogue: Catalogue, k: int) -> DataFrame:
    """The list of somebody of whom nothing is known: at most K rows."""
    popular = catalogue.most_popular(k)
    rows = [
        (rank, catalogue.item_id_I[int(index)].as_py(), float(catalogue.recent_count_I[index]), POPULAR)
        for rank, index in enumerate(popular, start=1)
    ]
    return local_rows(histories.sparkSession, rows, _SCHEMA.removeprefix("user_id string, "))
