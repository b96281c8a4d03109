"""Histograms of a day: what drift is measured by, kept so that a night reads only its own rows and these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from nextaisle.contract.tables import DATA_PROFILES, EVENTS, RECOMMENDATIONS, SESSIONS, Table
from nextaisle.quality.expectations import tables_in
from nextaisle.spark import local_rows


@dataclass(frozen=True)
class Profile:
    """A column's histogram: `bins` is a SELECT of day, bin and row_count.

    `units` is the column whose rows count as independent of each other (a user's events are not); `volume` names the
    check of all its rows together against the weeks before, where there is one.
    """

    table: Table
    column: str
    bins: str
    units: str
    volume: str = ""

    @property
    def reads(self) -> frozenset[str]:
        return tables_in(self.bins)

    @property
    def checks(self) -> tuple[str, ...]:
        return (f"psi_{self.column}", *((self.volume,) if self.volume else ()))


def _power_of_two(count: str) -> str:
    """SQL for the bin of a count: 1, 2-3, 4-7, ..."""
    low = f"shiftleft(1L, length(bin({count})) - 1)"
    return f"if({count} <= 1, cast({count} as string), concat({low}, '-', 2 * {low} - 1))"


PROFILES: Final = (
    Profile(
        EVENTS,
        "event_type",
        "select event_date as day, event_type as bin, count(*) as row_count from {events} group by all",
        units="events_per_user",
        volume="volume",
    ),
    Profile(
        EVENTS,
        "category",
        """
        select day, category as bin, sum(event_count) as row_count
        from (
          select day, item_id, event_count, max_by(category, valid_from) filter (where valid_from <= day) as category
          from (select event_date as day, item_id, count(*) as event_count from {events} group by all)
          left join (select item_id, valid_from, category from {items}) using (item_id)
          group by all
        ) group by all
        """,
        units="events_per_user",
    ),
    Profile(
        EVENTS,
        "events_per_user",
        f"""
        select day, {_power_of_two("event_count")} as bin, count(*) as row_count
        from (select event_date as day, user_id, count(*) as event_count from {{linked_events}} group by all)
        group by all
        """,
        units="events_per_user",
        volume="volume_users",
    ),
    Profile(
        SESSIONS,
        "event_count",
        f"""
        select session_date as day, {_power_of_two("event_count")} as bin, count(*) as row_count from {{sessions}}
        group by all
        """,
        units="event_count",
        volume="volume",
    ),
    Profile(
        RECOMMENDATIONS,
        "reason",
        """
        select score_date as day, reason as bin, count(*) as row_count from {recommendations} where rank = 1
        group by all
        """,
        units="reason",
        volume="volume",
    ),
)


def profiles_of(tables: Sequence[Table]) -> list[Profile]:
    return [profile for profile in PROFILES if profile.table in tables]


def profile_rows(
    spark: SparkSession, profiles: Sequence[Profile], frames: Mapping[str, DataFrame], values: Mapping[str, Any]
) -> DataFrame:
    """Rows of data_profiles for the days :first to :last."""
    rows = local_rows(spark, [], DATA_PROFILES.schema)
    for profile in profiles:
        query = f"""
        select day as profile_date, '{profile.table.name}' as table_name, '{profile.column}' as column_name,
          coalesce(bin, 'unknown') as bin, sum(row_count) as row_count
        from ({profile.bins}) where day between :first and :last group by all
        """
        rows = rows.unionAll(spark.sql(query, args=dict(values), **{name: frames[name] for name in profile.reads}))
    return rows.repartition("profile_date").sortWithinPartitions("profile_date", "table_name", "column_name", "bin")
