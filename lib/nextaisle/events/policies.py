"""What becomes of values that are missing or odd, by [source.policies]: refused, emptied, clipped or filled.

A record is refused, and gets its id, for what the log says; what is changed is changed afterwards. So an id does not
depend on the other records of the day, by which a value may be filled.
"""

from decimal import Decimal
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from nextaisle.config import IdPolicy, NumberPolicy, Policies, TextPolicy
from nextaisle.contract import reasons
from nextaisle.contract.tables import EVENTS
from nextaisle.events.cleaning import OUTCOME
from nextaisle.events.mapping import INGEST_DATE, TABLE_NAMES
from nextaisle.spark import staged

_ValuePolicy = NumberPolicy | TextPolicy
_MENDED: Final = {"clip": "clipped", "null": "emptied"}
_TYPICAL: Final = "typical"


def refusals(policies: Policies) -> dict[str, Column]:
    """Reasons of contract/reasons.py, and when they hold: first what is odd, then what is missing.

    | price (min = 0, odd = "null", missing = "reject") | reason        |
    |---------------------------------------------------|---------------|
    | 1.50                                              | null          |
    | null                                              | missing_price |
    | -1.50                                             | missing_price |
    """
    odd = {
        reasons.ODD[name]: _is_odd(name, policy)
        for name, policy in policies.by_column().items()
        if policy.odd == "reject"
    }
    missing = {
        reasons.MISSING[name]: _holds(policy) & _without_odd(name, policy).isNull()
        for name, policy in _of_values(policies).items()
        if policy.missing == "reject"
    }
    return odd | missing


def changes(policies: Policies) -> list[str]:
    """What policies change, as clipped_price and filled_price: flags of a record, and counts of a job."""
    mended = [_flag(name, policy) for name, policy in _mending(policies).items()]
    return [*mended, *(f"filled_{name}" for name in _filling(policies))]


def with_policies(records: DataFrame, policies: Policies, stored: DataFrame | None = None) -> DataFrame:
    """Odd values clipped or emptied, then missing ones filled; a flag for each of `changes` says where.

    `records` have OUTCOME as of `with_identity`. Where `stored` has events of the same days of the logs, they count too
    for what is typical of a day.
    """
    is_good = ~F.col(OUTCOME).isin(*reasons.OF_THE_RECORD)
    for name, policy in _mending(policies).items():
        records = _changed(
            records, name, _flag(name, policy), is_good & _is_odd(name, policy), _without_odd(name, policy)
        )
    for name, policy in _filling(policies).items():
        records = _filled(records, name, policy, is_good, stored)
    return records


def _filled(
    records: DataFrame, name: str, policy: _ValuePolicy, is_good: Column, stored: DataFrame | None
) -> DataFrame:
    value, is_missing = F.lit(policy.constant), is_good & _holds(policy) & _value(name).isNull()
    if policy.missing != "constant":
        known = [
            rows.where(_holds(policy)).select(INGEST_DATE, _value(name))
            for rows in (records.where(is_good), stored)
            if rows
        ]
        values = known[0].unionByName(known[1]) if stored else known[0]
        typical = staged(_typical(values, _value(name), policy.missing))
        records, value = records.join(F.broadcast(typical), INGEST_DATE, "left"), F.col(_TYPICAL)
    # A day on which nobody has a value has none to fill with.
    return _changed(records, name, f"filled_{name}", is_missing & value.isNotNull(), value).drop(_TYPICAL)


def _typical(values: DataFrame, value: Column, kind: str) -> DataFrame:
    """(ingest_date, typical): counted, never sampled, so that the order of the records has no part in it.

    | values of a day | median | most_frequent |
    |-----------------|--------|---------------|
    | 1, 1, 2, 3, 3   | 2      | 1             |
    | 1, 2, 3, 4      | 2      | 1             |
    | 1, 2, 2, 2      | 2      | 2             |

    The median is one of the values, the lower of two: what is filled with it leaves it where it is.
    """
    counts = values.where(value.isNotNull()).groupBy(INGEST_DATE, value.alias("value")).count()
    if kind == "most_frequent":
        first = F.min(F.struct(-F.col("count"), "value")).getField("value")
        return counts.groupBy(INGEST_DATE).agg(first.alias(_TYPICAL))
    day = Window.partitionBy(INGEST_DATE)
    so_far = F.sum("count").over(day.orderBy("value").rowsBetween(Window.unboundedPreceding, Window.currentRow))
    is_upper = so_far * 2 >= F.sum("count").over(day)
    upper = counts.withColumn("is_upper", is_upper).where("is_upper")
    return upper.groupBy(INGEST_DATE).agg(F.min("value").alias(_TYPICAL))


def _changed(records: DataFrame, name: str, flag: str, where: Column, value: Column) -> DataFrame:
    column = TABLE_NAMES.get(name, name)
    changed = F.when(where, value.cast(EVENTS.schema[column].dataType)).otherwise(F.col(column))
    return records.withColumns({flag: F.coalesce(where, F.lit(False)), column: changed})


def filled_columns(policies: Policies) -> set[str]:
    """Columns of events that may have a value where the log gives none."""
    return {TABLE_NAMES.get(name, name) for name in _filling(policies)}


def _mending(policies: Policies) -> dict[str, _ValuePolicy]:
    return {name: policy for name, policy in _of_values(policies).items() if policy.odd in _MENDED}


def _filling(policies: Policies) -> dict[str, _ValuePolicy]:
    return {name: policy for name, policy in _of_values(policies).items() if policy.missing not in ("keep", "reject")}


def _of_values(policies: Policies) -> dict[str, _ValuePolicy]:
    return {name: policy for name, policy in policies.by_column().items() if not isinstance(policy, IdPolicy)}


def _flag(name: str, policy: _ValuePolicy) -> str:
    return f"{_MENDED[policy.odd]}_{name}"


def _holds(policy: _ValuePolicy | IdPolicy) -> Column:
    return F.col("event_type").isin(*policy.event_types) if policy.event_types else F.lit(True)


def _is_odd(name: str, policy: _ValuePolicy | IdPolicy) -> Column:
    if isinstance(policy, NumberPolicy):
        is_low, is_high = _beyond(name, policy)
        return _holds(policy) & (is_low | is_high)
    return _holds(policy) & ~F.rlike(_value(name), F.lit(policy.pattern))


def _without_odd(name: str, policy: _ValuePolicy) -> Column:
    if policy.odd == "null":
        return F.when(~F.coalesce(_is_odd(name, policy), F.lit(False)), _value(name))
    if isinstance(policy, NumberPolicy) and policy.odd == "clip":
        is_low, is_high = (_holds(policy) & beyond for beyond in _beyond(name, policy))
        return F.when(is_low, _number(policy.min)).when(is_high, _number(policy.max)).otherwise(_value(name))
    return _value(name)


def _beyond(name: str, policy: NumberPolicy) -> tuple[Column, Column]:
    """Whether a value is below min, and whether it is above max."""
    # Beyond a bound that is not given nothing is.
    is_low, is_high = _value(name) < _number(policy.min), _value(name) > _number(policy.max)
    return F.coalesce(is_low, F.lit(False)), F.coalesce(is_high, F.lit(False))


def _number(bound: Decimal | str) -> Column:
    return F.lit(bound) if isinstance(bound, Decimal) else F.lit(None)


def _value(name: str) -> Column:
    return F.col(TABLE_NAMES.get(name, name))
