"""Every table once: columns, types, key, partition, and the comments that DESCRIBE shows.

Types are Spark DDL. `?` behind a type marks a column that may be null.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pyspark.sql.types import StructField, StructType


@dataclass(frozen=True)
class Column:
    """One column: its name, its Spark type, what it means, and whether it may be null."""

    name: str
    type: str
    comment: str
    is_nullable: bool = False

    @property
    def ddl(self) -> str:
        comment = self.comment.replace("'", "\\'")
        return f"{self.name} {self.type}{'' if self.is_nullable else ' NOT NULL'} COMMENT '{comment}'"


@dataclass(frozen=True)
class Table:
    """A Delta table: what one row is, what identifies it, and how its files are laid out.

    A file that Python writes holds the columns `carried` of users' last rows a second time (embedded.py): those that a
    night goes on from.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def only(self, columns: Sequence[str]) -> "Table":
        """The same rows with these columns alone."""
        return replace(self, columns=tuple(next(c for c in self.columns if c.name == name) for name in columns))

    @property
    def day(self) -> str | None:
        """The date by which the files are laid out; None where they are not laid out by one."""
        return next((c.name for c in self.columns if c.name in self.partition[:1] and c.type == "date"), None)

    @property
    def bounded(self) -> list[str]:
        """The columns of which Delta keeps the bounds in each file, so that a query opens only files that may matter.

        Others' would leave no file out, and cost an eighth of a write.
        """
        columns = [column for column in self.columns if column.name not in self.partition]
        return [c.name for c in columns if c.type in ("date", "timestamp") or c.name in ("user_id", "item_id")]

    @cached_property
    def schema(self) -> StructType:
        return StructType([field for column in self.columns for field in fields_of(column.ddl)])


def fields_of(ddl: str) -> list[StructField]:
    """Of columns in Spark's DDL, as "user string, price double"."""
    parsed = StructType.fromDDL(ddl)
    return parsed.fields if isinstance(parsed, StructType) else []


def _column(name: str, kind: str, comment: str) -> Column:
    return Column(name, kind.rstrip("?"), comment, kind.endswith("?"))


_MONEY = "decimal(18,4)"

SOURCE_FILES: Final = Table(
    "source_files",
    "One row per file of raw logs that was read, with what came of its records then.",
    (
        _column("path", "string", "Where the file was read"),
        _column("size", "bigint", "Bytes when it was read"),
        _column("modified_time", "timestamp", "Last change of the file when it was read"),
        _column("ingest_date", "date", "Day of the logs that the file was read for"),
        _column("record_count", "bigint", "Records in it, after source.rows; an unreadable line is one"),
        _column("accepted_count", "bigint", "Records that became events; later ones may show that they were a bot's"),
        _column("rejected_count", "bigint", "Records that went to rejected_events"),
        _column("duplicate_count", "bigint", "Records dropped as a repetition of an event"),
        _column("source_key", "string?", "Hash of [source], its path apart, by which it was read"),
        _column("time_zone", "string?", "source.time_zone then, by which the days of its events were told"),
    ),
    key=("path", "size", "modified_time"),
)

EVENTS: Final = Table(
    "events",
    "One row per accepted event of a user.",
    (
        _column("event_id", "string", "The log's own id, or a hash of the mapped fields and an ordinal"),
        _column("event_date", "date", "Day of the event in the shop's time zone"),
        _column("event_time", "timestamp", "Instant of the event, UTC"),
        _column("user_id", "string", "Who acted"),
        _column("item_id", "string?", "What was acted on; null for a search"),
        _column(
            "event_type",
            "string",
            "view, search, cart, uncart, favourite, purchase, return, rating, ...; or the log's own",
        ),
        _column("source_session_id", "string?", "The log's own session or basket, if it has one"),
        _column("price", f"{_MONEY}?", "Price of one piece in the shop's currency"),
        _column("quantity", "decimal(18,3)?", "How many pieces"),
        _column("query", "string?", "What was searched for"),
        _column("rating", "double?", "The rating given, on the shop's scale"),
        _column("position", "int?", "Place in the list where the item was shown, 1 is first"),
        _column("variant", "string?", "Arm of an experiment that the user saw"),
        _column("region", "string?", "Where the user was"),
        _column("device", "string?", "What the user used"),
        _column("ingest_date", "date", "Day of the logs in which the event arrived"),
    ),
    key=("event_date", "event_id"),
    partition=("event_date",),
)

IDENTITIES: Final = Table(
    "identities",
    "Ids that are one user ([identities] of the configuration), as the table sessions was made with: from linked_date "
    "on what events have under id belongs to user_id; of several links of an id the latest through the day of the "
    "event holds. Restricted: holds raw ids.",
    (
        _column("id", "string", "What events have as user_id: a cookie, a login, an id of another platform"),
        _column("linked_date", "date", "Day, of the shop, from which the link holds; 1970-01-01 is always"),
        _column("user_id", "string", "Whose id it is"),
    ),
    key=("id", "linked_date"),
)

_EVENT: Final = "struct<" + ",".join(f"{column.name}:{column.type}" for column in EVENTS.columns) + ">"

REJECTED_EVENTS: Final = Table(
    "rejected_events",
    "One row per refused record, of the last events.rejected_days days. Restricted: holds records as received, with "
    "raw ids. What was refused for the user's day (bot, over_the_cap) is held as the event that it would be.",
    (
        _column("path", "string", "File that the record came from; empty where the row holds an event"),
        _column("record_hash", "string", "SHA-256 of the record, hexadecimal; of event_date and event_id of an event"),
        _column("ordinal", "int", "1, 2, ... among identical refused records of one file"),
        _column("reason", "string", "Why it was refused: a value of contract/reasons.py"),
        _column("record", "binary?", "The record as received; of CSV and columnar sources its columns as JSON"),
        _column("event_time", "timestamp?", "Its time, where one could be read"),
        _column("ingest_date", "date", "Day of the logs in which it arrived"),
        _column("record_schema", "string?", "Of a CSV or columnar source: the columns of the record, as Spark DDL"),
        _column(
            "row", "string?", "Where source.rows makes rows of a record: the columns it added to this one, as JSON"
        ),
        _column("row_schema", "string?", "Those columns, as Spark DDL"),
        _column("rule", "string?", "Of a bot: the setting of [bots] that its day broke"),
        _column(
            "event", f"{_EVENT}?", "The event, as table events would hold it, if only the user's day is the reason"
        ),
    ),
    key=("path", "record_hash", "ordinal"),
    partition=("ingest_date",),
)

SESSIONS: Final = Table(
    "sessions",
    "One row per visit of one user; the arrays hold its events, oldest first, in step with each other.",
    (
        _column("session_id", "string", "Hash of user, source session and start; a late event may change it"),
        _column("session_date", "date", "Day on which it started, in the shop's time zone"),
        _column("user_id", "string", "Whose visit: the user that the events' id is linked to, see identities"),
        _column("source_session_id", "string?", "The log's own session or basket, if it has one"),
        _column("start_time", "timestamp", "Instant of the first event, UTC"),
        _column("end_time", "timestamp", "Instant of the last event, UTC"),
        _column("event_count", "int", "Length of each array; events that came in a row may be one, see counts"),
        _column("item_ids", "array<string>", "Items acted on; null within for a search"),
        _column("event_types", "array<string>", "Kinds of action"),
        _column("event_times", "array<timestamp>", "Instants, UTC"),
        _column("prices", f"array<{_MONEY}>", "Prices of one piece; null within where unknown"),
        _column("quantities", "array<decimal(18,3)>", "Pieces; null within where unknown"),
        _column(
            "counts",
            "array<int>?",
            "How often in a row the event came, by sessions.collapse_types; else 1. Null in "
            "rows of an earlier release: 1 each",
        ),
    ),
    key=("session_id",),
    partition=("session_date",),
)

SEQUENCES: Final = Table(
    "sequences",
    "A user's history as of the end of a day on which it changed; the latest row is the current one. "
    "Arrays are in step, oldest first, the last sequences.max_events events that have an item. Months that were over "
    "sequences.daily_days before the last day hold each event about once: any of their days is the row before its end "
    "and, of the next row, the events before its end.",
    (
        _column("user_id", "string", "Whose history"),
        _column("as_of_date", "date", "Day, of the shop, at whose end the history was this"),
        _column("event_count", "bigint", "Events with an item ever, also those no longer in the arrays"),
        _column("item_ids", "array<string>", "Items"),
        _column("item_indices", "array<int>", "items.item_index of each item"),
        _column("event_types", "array<string>", "Kinds of action"),
        _column("event_times", "array<timestamp>", "Instants, UTC"),
        _column("prices", f"array<{_MONEY}>", "Prices of one piece; null within where unknown"),
        _column("is_session_start", "array<boolean>", "Whether the event is the first with an item in its session"),
    ),
    key=("user_id", "as_of_date"),
    partition=("as_of_date",),
    carried=(
        "user_id",
        "event_count",
        "item_ids",
        "event_types",
        "event_times",
        "prices",
        "is_session_start",
    ),
)

ITEMS: Final = Table(
    "items",
    "The vocabulary: one row per item and state of its attributes. An index never changes. Of a day, the row with the "
    "latest valid_from through it holds; every item has one since 1970-01-01, of nulls where nothing is known.",
    (
        _column("item_id", "string", "The shop's id"),
        _column("item_index", "int", "The model's integer: 1, 2, ... without gaps; 0 is padding"),
        _column("valid_from", "date", "Day from which the attributes hold"),
        _column("title", "string?", "What a person calls it"),
        _column("department", "string?", "Coarsest group"),
        _column("category", "string?", "Group"),
        _column("brand", "string?", "Maker or brand"),
        _column("product_type", "string?", "Finest group"),
        _column("price", f"{_MONEY}?", "Catalogue price"),
        _column("image", "string?", "Where its picture is"),
        _column("first_seen_date", "date", "Day of its first event; 9999-12-31 where no event has it any more"),
        _column("last_seen_date", "date", "Day of its latest event; 9999-12-31 where no event has it any more"),
    ),
    key=("item_id", "valid_from"),
)

USERS: Final = Table(
    "users",
    "Whom the shop's list ([users] of the configuration) names, or named once: one row per user and state of what is "
    "known of them. Of a day, the row with the latest valid_from through it holds. Restricted: holds raw ids.",
    (
        _column("user_id", "string", "The shop's id"),
        _column("valid_from", "date", "Day from which the rest holds; every user has a row since 1970-01-01"),
        _column("region", "string?", "Where the user lives"),
        _column("age_band", "string?", "Age, in the shop's groups"),
        _column("segment", "string?", "The shop's own group of users"),
    ),
    key=("user_id", "valid_from"),
)

EXAMPLES: Final = Table(
    "examples",
    "One row per training window, encoded. Arrays have examples.length entries, filled on the right with 0. "
    "Every event that counts as a target, but a user's first, is the target of exactly one window.",
    (
        _column("example_id", "bigint", "64-bit hash of user, split and place of the last target"),
        _column("as_of_date", "date", "Day through which the histories reach"),
        _column("split", "string", "train, validation or test: where the targets lie"),
        _column("length", "int", "Inputs before the filling"),
        _column("item_indices", "array<int>", "Inputs: items, oldest first"),
        _column("event_type_indices", "array<int>", "Inputs: contract/tokens.py EVENT_TYPE_INDEX"),
        _column("is_session_end", "array<int>", "Inputs: 1 where the target begins another session than the input's"),
        _column("target_indices", "array<int>", "What follows each input; 0 where it is not a target of this window"),
    ),
    key=("example_id",),
    partition=("as_of_date", "split"),
)

RECOMMENDATIONS: Final = Table(
    "recommendations",
    "One row per user and rank: what to show the user on the day after score_date.",
    (
        _column("user_id", "string", "To whom"),
        _column("score_date", "date", "Day through which the user's history was known"),
        _column("variant", "string", "Arm of an experiment, or default"),
        _column("rank", "int", "1 is best"),
        _column("item_id", "string", "What to show"),
        _column(
            "score", "double", "The model's score, comparable within one list; of popular rows their recent events"
        ),
        _column("reason", "string", "model, or popular where the model knows no history, or no more items"),
        _column("model_version", "string", "Registered model and version that made the list"),
    ),
    key=("user_id", "score_date", "variant", "rank"),
    partition=("score_date",),
)

EVALUATIONS: Final = Table(
    "evaluations",
    "One row per metric of one model under one protocol.",
    (
        _column("run_id", "string", "MLflow run that was judged"),
        _column("model", "string", "candidate, champion, or the name of a baseline"),
        _column("protocol", "string", "leave-one-out, time-next or time-window"),
        _column("split", "string", "test: the days that no model has seen"),
        _column("segment", "string", "all: every case"),
        _column("metric", "string", "As ndcg_at_10"),
        _column("value", "double", "Mean over cases"),
        _column("low", "double", "Lower end of the 95 % interval of the mean, cases of one user as one cluster"),
        _column("high", "double", "Upper end of that interval"),
        _column("cases", "bigint", "Cases judged"),
    ),
    key=("run_id", "model", "protocol", "split", "segment", "metric"),
)

EVALUATION_CASES: Final = Table(
    "evaluation_cases",
    "One row per user and model: the user's mean metrics, kept for paired tests.",
    (
        _column("run_id", "string", "MLflow run that was judged"),
        _column("model", "string", "candidate, champion, or the name of a baseline"),
        _column("protocol", "string", "leave-one-out, time-next or time-window"),
        _column("split", "string", "test: the days that no model has seen"),
        _column("user_id", "string", "Whose cases"),
        _column("cases", "bigint", "Cases of this user"),
        _column("metrics", "map<string,double>", "Mean of each metric over the user's cases"),
    ),
    key=("run_id", "model", "protocol", "split", "user_id"),
    partition=("run_id",),
)

JOB_RUNS: Final = Table(
    "job_runs",
    "One row per run of a job.",
    (
        _column("run_id", "string", "Id of this run"),
        _column("job", "string", "File name in jobs/, without .py"),
        _column("first_date", "date?", "First day built; null for everything"),
        _column("last_date", "date?", "Last day built"),
        _column("job_key", "string", "Hash of what the result depends on: code, configuration, inputs"),
        _column("rules_key", "string", "Hash of the sections of the configuration that the job names"),
        _column("outcome", "string", "done, unchanged, or failed"),
        _column("reason", "string?", "Why it failed"),
        _column("versions_read", "map<string,bigint>", "Delta version of each table read"),
        _column("versions_written", "map<string,bigint>", "Delta version of each of its tables as it made or found it"),
        _column("rows", "map<string,bigint>", "Counts that the job reports"),
        _column("bytes_written", "bigint", "Bytes of the data files it committed"),
        _column("tracking_run_id", "string?", "MLflow run that it made or judged"),
        _column("started_time", "timestamp", "When it started, UTC"),
        _column("seconds", "double", "How long it took"),
        _column("run_number", "bigint?", "Grows from run to run in the order in which they ended, whatever the clock"),
        _column("table_ids", "map<string,string>?", "Delta's id of each of these tables, whose versions they are"),
        _column("bytes_read", "bigint?", "Bytes that its tasks read from files, those of failed tries among them"),
    ),
    key=("run_id",),
)

USER_PROFILES: Final = Table(
    "user_profiles",
    "What a user is like as of the end of a day on which they did something; the latest row is the current one. "
    "Counts run from the first event ever. Interest is an event of profiles.interest_event_types. "
    "Recency in days: datediff(DATE'2024-01-31', last_purchase_date).",
    (
        _column("user_id", "string", "Whose profile"),
        _column("as_of_date", "date", "Day, of the shop, at whose end the profile was this"),
        _column("last_event_time", "timestamp", "Instant of the latest event, UTC"),
        _column("first_event_date", "date", "Day of the first event"),
        _column("active_day_count", "bigint", "Days with an event"),
        _column("event_counts", "map<string,bigint>", "Events by type; types that never came are left out"),
        _column("event_money", f"map<string,{_MONEY}>", "Sum of price times pieces (1 where unknown) by type, each "
                "event rounded to 4 decimals; types without a price are left out"),
        _column("first_purchase_date", "date?", "Day of the first purchase"),
        _column("last_purchase_date", "date?", "RFM, recency: day of the latest purchase"),
        _column("purchase_day_count", "bigint", "RFM, frequency: days with a purchase (less 1: lifetimes' frequency)"),
        _column("purchase_count", "bigint", "Purchases: one per event, whatever its pieces"),
        _column("purchase_money", _MONEY, "RFM, monetary: event_money of purchases; 0 where no price is known"),
        _column("repeat_purchase_count", "bigint", "Purchases of an item that was bought on an earlier day, too"),
        _column("repeat_share", "double?", "repeat_purchase_count / purchase_count; null without a purchase"),
        _column("favourite_categories", "array<struct<category:string,event_count:bigint>>", "Categories of the most "
                "events of interest, then by name; at most profiles.favourites"),
        _column("favourite_brands", "array<struct<brand:string,event_count:bigint>>", "The same of brands"),
        _column("favourite_hours", "array<struct<hour:int,event_count:bigint>>", "The same of hours 0..23, shop zone"),
        _column("favourite_weekdays", "array<struct<weekday:int,event_count:bigint>>", "The same of days, 1 is Monday"),
        _column("paid_money", _MONEY, "Paid for what has a price and a category"),
        _column("mean_price_money", _MONEY, "What the same pieces cost at their category's mean price; see "
                "category_prices"),
        _column("price_level", "double?", "paid_money / mean_price_money; above 1 buys dearer than others do"),
        _column("category_entropy", "double?", "Shannon entropy of category_counts, bits; 0 is one category alone"),
        _column("recent_entropy", "double?", "The same of the profiles.window_days days that end on as_of_date"),
        _column("earlier_entropy", "double?", "The same of as many days before these"),
        _column("interest_drift", "double?", "recent_entropy - earlier_entropy; null where either has no event"),
        _column("viewed_count", "bigint", "Funnel: items viewed, once per session"),
        _column("carted_count", "bigint", "Of these, put into the cart later in the session"),
        _column("cart_purchased_count", "bigint", "Of these, bought later still"),
        _column("view_purchased_count", "bigint", "Of those viewed, bought later in the session, by way of a cart or "
                "not"),
        _column("category_counts", "array<struct<category:string,event_count:bigint>>", "Events of interest by "
                "category, the most first, then by name"),
        _column("brand_counts", "array<struct<brand:string,event_count:bigint>>", "The same by brand"),
        _column("hour_counts", "array<bigint>", "Events of interest by hour of the day in the shop's zone, 24 entries"),
        _column("weekday_counts", "array<bigint>", "The same by day of the week, Monday first, 7 entries"),
        _column("recent_category_counts", "array<struct<event_date:date,category:string,event_count:bigint>>",
                "Events of interest by day and category in the last two windows, oldest first"),
        _column("bought_item_ids", "array<string>", "Items ever bought, in order of the first day, then id: what "
                "repeat purchases are told by"),
    ),
    key=("user_id", "as_of_date"),
    partition=("as_of_date",),
    carried=(
        "user_id", "event_counts", "event_money", "active_day_count", "first_event_date", "first_purchase_date",
        "last_purchase_date", "purchase_day_count", "repeat_purchase_count", "viewed_count", "carted_count",
        "cart_purchased_count", "view_purchased_count", "category_counts", "brand_counts", "hour_counts",
        "weekday_counts", "recent_category_counts", "bought_item_ids", "paid_money", "mean_price_money",
    ),
)  # fmt: skip

CATEGORY_PRICES: Final = Table(
    "category_prices",
    "What was paid in a category on a day, for purchases that have a price. A category's mean price on a day is the "
    "sum of money over the sum of pieces of the profiles.price_days days that end with it.",
    (
        _column("category", "string", "The attribute of items that profiles.category names, as it was on that day"),
        _column("event_date", "date", "Day of the purchases in the shop's time zone"),
        _column("purchase_count", "bigint", "Purchases with a price and a positive number of pieces"),
        _column("pieces", "decimal(28,3)", "Pieces bought; 1 where the log does not say"),
        _column("money", "decimal(28,4)", "Paid for them"),
    ),
    key=("category", "event_date"),
    partition=("event_date",),
)

ITEM_GRAPH: Final = Table(
    "item_graph",
    "How often one item led to another on a day, within sessions; decay and pruning come when it is published. "
    "An item never leads to itself.",
    (
        _column("from_item_id", "string", "Where the pair begins; of a co_purchase the smaller id"),
        _column("to_item_id", "string", "Where it ends"),
        _column("kind", "string", "Types of the two events, as view_purchase; or co_purchase, which has no direction"),
        _column("distance", "int", "Places from one to the other among item_graph.event_types; 0 for co_purchase"),
        _column("event_date", "date", "Day of the later event, in the shop's time zone"),
        _column("pair_count", "bigint", "How often; a co_purchase once per session"),
    ),
    key=("from_item_id", "to_item_id", "kind", "distance", "event_date"),
    partition=("event_date",),
)

DATA_QUALITY: Final = Table(
    "data_quality",
    "One row per check of a table on a day.",
    (
        _column("table_name", "string", "What was checked"),
        _column("check_name", "string", "What had to hold, as unique_key or psi_category"),
        _column(
            "check_date", "date", "Day of the rows that were checked; of a table without days, the last day checked"
        ),
        _column("value", "double", "Rows for which it did not hold; of drift the measure itself"),
        _column("expected", "string", "What had to hold: an SQL expression over a row, or the limit of the measure"),
        _column("row_count", "bigint", "Rows that were looked at"),
        _column("severity", "string", "error stops the night, warning does not"),
        _column("outcome", "string", "passed, failed, or skipped where too few days are known to judge drift by"),
        _column("sample", "array<string>", "Keys of the first rows that failed, as user_id=7, rank=1"),
    ),
    key=("table_name", "check_name", "check_date"),
    partition=("check_date",),
)

DATA_PROFILES: Final = Table(
    "data_profiles",
    "One row per bin of a column's histogram on a day: what drift is measured by.",
    (
        _column("profile_date", "date", "Day of the rows"),
        _column("table_name", "string", "Whose rows"),
        _column("column_name", "string", "What was counted, as event_type or events_per_user"),
        _column("bin", "string", "A value, or a range of counts as 4-7"),
        _column("row_count", "bigint", "How many have it"),
    ),
    key=("profile_date", "table_name", "column_name", "bin"),
    partition=("profile_date",),
)

COMPLETE_DAYS: Final = Table(
    "complete_days",
    "One row per day whose night ended with success, its checks included: what a consumer waits for.",
    (
        _column("complete_date", "date", "The day"),
        _column("completed_time", "timestamp", "When its contents became what they are, UTC"),
        _column("versions", "map<string,bigint>", "Delta versions of the tables that hold the day's contents then"),
        _column("table_ids", "map<string,string>?", "Delta's id of each of these tables, whose versions they are"),
    ),
    key=("complete_date",),
    partition=("complete_date",),
)

TABLES: Final = {
    table.name: table
    for table in (
        SOURCE_FILES,
        EVENTS,
        REJECTED_EVENTS,
        IDENTITIES,
        SESSIONS,
        SEQUENCES,
        ITEMS,
        USERS,
        EXAMPLES,
        RECOMMENDATIONS,
        EVALUATIONS,
        EVALUATION_CASES,
        JOB_RUNS,
        USER_PROFILES,
        CATEGORY_PRICES,
        ITEM_GRAPH,
        DATA_QUALITY,
        DATA_PROFILES,
        COMPLETE_DAYS,
    )
}
