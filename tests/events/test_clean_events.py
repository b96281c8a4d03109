"""The job clean_events on small logs, with the answers by hand."""

import gzip
import json
import shutil
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import build_sequences, build_sessions, clean_events
from nextaisle import overlays
from nextaisle.contract.tables import EVENTS, REJECTED_EVENTS, SEQUENCES, SESSIONS, SOURCE_FILES, Table
from nextaisle.job import Outcome, execute
from nextaisle.storage.store import Store
from tests.shared_data import shared

SCHEMA = "id string, user string, item string, kind string, time string, price string"
COLUMNS = {"user_id": "user", "item_id": "item", "event_type": "kind", "event_time": "time", "price": "price"}

Clean = Callable[..., Outcome]


def record(user: str | None = "u", item: str | None = "a", time: str = "2024-01-01T10:00:00Z", **more: str) -> str:
    return json.dumps({"user": user, "item": item, "kind": "view", "time": time, **more})


def write_day(root: Path, day: str, *lines: str | bytes) -> Path:
    path = root / "logs" / day / "part.json.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


@pytest.fixture
def clean(spark: SparkSession, tmp_path: Path) -> Clean:
    """Runs the job over tmp_path/logs/{date}/*.json.gz, or over another source."""

    def run(day: str | None = "2024-01-01", to: str | None = None, overlay: Path | None = None,
            mapping: Mapping[str, str] = COLUMNS, **sets: object) -> Outcome:  # fmt: skip
        words = [f"store.root={tmp_path}/tables", "events.max_rejected_share=1.0"]
        if overlay is None:
            words += [f"source.path={tmp_path}/logs/{{date}}/*.json.gz", f"source.schema={SCHEMA}"]
            words += [f"source.columns.{name}={text}" for name, text in mapping.items()]
        words += [f"{key.replace('__', '.')}={value}" for key, value in sets.items()]
        settings = overlays.load([overlay] if overlay else [], words)
        first, last = (date.fromisoformat(each) if each else None for each in (day, to or day))
        return execute(clean_events.JOB, settings, spark, first, last)

    return run


@pytest.fixture
def rows(spark: SparkSession, tmp_path: Path) -> Callable[..., list[tuple[object, ...]]]:
    """The rows of a table, sorted, with only the columns named."""

    def read(table: Table, *columns: str) -> list[tuple[object, ...]]:
        settings = overlays.load(assignments=[f"store.root={tmp_path}/tables"])
        found = Store(spark, settings.store).read(table).select(*columns).collect()
        return sorted((tuple(row) for row in found), key=str)

    return read


Rows = Callable[..., list[tuple[object, ...]]]


def test_every_record_is_accepted_or_refused_with_its_reason_and_its_bytes(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    broken = b'{"user": "u", "item'
    not_text = b'{"user": "\xff\xfe", "item": "a"}'
    write_day(
        tmp_path, "2024-01-10",
        record(time="2024-01-10T10:00:00Z", price="1.50"),
        record(user=None, time="2024-01-10T10:00:00Z"),
        record(user="  ", time="2024-01-10T10:00:00Z"),
        record(item=None, time="2024-01-10T10:00:00Z"),
        record(item=None, time="2024-01-10T10:00:00Z", kind="search"),
        record(time="yesterday"),
        record(time="1999-12-31T10:00:00Z"),
        record(time="2024-01-11T01:00:00Z"),
        record(time="2024-01-11T01:00:01Z"),
        record(time="2024-01-03T10:00:00Z"),
        record(time="2024-01-02T10:00:00Z"),
        record(time="2024-01-10T10:00:00Z", kind="stare"),
        broken,
        not_text,
    )  # fmt: skip
    outcome = clean("2024-01-10")
    assert outcome.exit_code == 0, outcome.reason
    assert outcome.rows == {
        "files": 1, "records": 14, "accepted": 4, "rejected": 10, "duplicates": 0, "rejected_unreadable": 2,
        "rejected_missing_user": 2, "rejected_missing_item": 1, "rejected_missing_time": 1, "rejected_too_early": 1,
        "rejected_in_the_future": 1, "rejected_too_late": 1, "rejected_unknown_type": 1,
    }  # fmt: skip
    assert [row[0] for row in rows(EVENTS, "event_date")] == [
        date(2024, 1, 10), date(2024, 1, 10), date(2024, 1, 11), date(2024, 1, 3),
    ]  # fmt: skip
    refused = {bytes(record): reason for record, reason in rows(REJECTED_EVENTS, "record", "reason")}  # type: ignore[arg-type]
    assert refused[broken] == refused[not_text] == "unreadable"
    assert rows(SOURCE_FILES, "record_count", "accepted_count", "rejected_count", "duplicate_count") == [(14, 4, 10, 0)]


def test_a_repeated_day_changes_nothing_and_a_mended_one_replaces_what_it_brought(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-01-01", record(item="a"), record(item="b", time="2023-12-31T10:00:00Z"))
    assert clean().outcome == "done"
    assert clean().outcome == "unchanged"
    write_day(tmp_path, "2024-01-01", record(item="c"))
    assert clean().outcome == "done"
    assert rows(EVENTS, "item_id") == [("c",)]


@pytest.mark.slow
def test_days_one_by_one_in_any_order_hold_what_one_pass_holds(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    """Day 2 brings an event of day 1 again, and a late one."""
    again = record(item="a", id="1")
    ids = {**COLUMNS, "event_id": "id"}
    write_day(tmp_path, "2024-01-01", again, record(item="b", id="2"))
    write_day(tmp_path, "2024-01-02", again, record(item="c", id="3", time="2024-01-01T11:00:00Z"))
    contents = []
    for days in (["2024-01-01", "2024-01-02"], ["2024-01-02", "2024-01-01"], [None]):
        shutil.rmtree(tmp_path / "tables", ignore_errors=True)
        outcomes = [clean(day, mapping=ids) for day in days]
        assert [outcome.reason for outcome in outcomes] == [""] * len(days)
        contents.append(rows(EVENTS, *EVENTS.names))
    assert contents[0] == contents[1] == contents[2]
    assert [row[EVENTS.names.index("item_id")] for row in contents[0]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("rule", "accepted", "duplicates"), [("keep", 3, 0), pytest.param("drop", 2, 1, marks=pytest.mark.slow)]
)
def test_identical_records_of_a_log_without_ids_follow_the_rule(
    rule: str, accepted: int, duplicates: int, clean: Clean, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-01-01", record(), record(), record(item="b"))
    outcome = clean(events__identical_records=rule)
    assert (outcome.rows["accepted"], outcome.rows["duplicates"]) == (accepted, duplicates)


def test_times_without_a_zone_are_the_shops_and_so_is_its_day(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    """New York is five hours behind UTC, four in summer; 02:30 on the second Sunday in March does not exist."""
    write_day(
        tmp_path, "2024-03-10",
        record(item="a", time="2024-03-09 23:30:00"),
        record(item="b", time="2024-03-10T03:30:00Z"),
        record(item="c", time="2024-03-10 12:00:00"),
        record(item="d", time="2024-03-10"),
    )  # fmt: skip
    clean("2024-03-10", source__time_zone="America/New_York")
    assert rows(EVENTS, "item_id", "event_date", "event_time") == [
        ("a", date(2024, 3, 9), datetime(2024, 3, 10, 4, 30)),
        ("b", date(2024, 3, 9), datetime(2024, 3, 10, 3, 30)),
        ("c", date(2024, 3, 10), datetime(2024, 3, 10, 16, 0)),
        ("d", date(2024, 3, 10), datetime(2024, 3, 10, 5, 0)),
    ]


@pytest.mark.slow
def test_an_expression_that_makes_a_time_of_a_local_one_gives_the_shops_time(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-07-01", record(time="7/1/2024 9:30"))
    mapping = {**COLUMNS, "event_time": "to_timestamp(time, 'M/d/yyyy H:mm')"}
    assert clean("2024-07-01", mapping=mapping, source__time_zone="Europe/London").rows["accepted"] == 1
    assert rows(EVENTS, "event_time") == [(datetime(2024, 7, 1, 8, 30),)]


@pytest.mark.slow
def test_a_time_of_day_alone_is_no_time(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    write_day(tmp_path, "2024-01-01", record(time="10:00:00"), record())
    assert clean().rows["rejected_missing_time"] == 1


@pytest.mark.slow
def test_a_value_that_an_expression_cannot_cast_is_null_and_ends_nothing(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-01-01", record(price="-2"), record(item="b", price="two"))
    mapping = {**COLUMNS, "event_type": "case when price < 0 then 'return' else 'purchase' end"}
    assert clean(mapping=mapping).reason == ""
    assert rows(EVENTS, "event_type", "price") == [("purchase", None), ("return", Decimal("-2.0000"))]


@pytest.mark.slow
def test_a_line_with_more_than_one_object_is_unreadable(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    lines = [record() + record(item="b"), record() + ", " + record(item="b"), record() + "]", record() + "  "]
    write_day(tmp_path, "2024-01-01", *lines)
    outcome = clean()
    assert (outcome.rows["rejected_unreadable"], outcome.rows["accepted"]) == (3, 1)


def test_a_users_day_is_cut_at_the_cap_in_order_of_time(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    times = [f"2024-01-01T10:00:{second:02}Z" for second in (3, 1, 2, 0)]
    write_day(tmp_path, "2024-01-01", *[record(item=time[-3:-1], time=time) for time in times], record(user="v"))
    outcome = clean(events__max_per_user_day=2)
    assert outcome.rows["rejected_over_the_cap"] == 2
    assert rows(EVENTS, "user_id", "item_id") == [("u", "00"), ("u", "01"), ("v", "a")]


def test_too_many_refused_records_stop_the_night_before_anything_is_published(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-01-01", record(), record(user=None))
    outcome = clean(events__max_rejected_share=0.4)
    assert (outcome.exit_code, "missing_user" in outcome.reason) == (4, True)
    assert rows(EVENTS, "event_id") == rows(REJECTED_EVENTS, "reason") == rows(SOURCE_FILES, "path") == []


def test_a_truncated_archive_is_named_and_publishes_nothing(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    path = write_day(tmp_path, "2024-01-01", *[record(item=str(n)) for n in range(1000)])
    path.write_bytes(path.read_bytes()[:-40])
    outcome = clean()
    assert outcome.exit_code == 3
    assert "part.json.gz" in outcome.reason
    assert rows(EVENTS, "event_id") == []


@pytest.mark.slow
def test_a_binary_file_is_unreadable_lines(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    write_day(tmp_path, "2024-01-01", bytes(range(11, 256)), record())
    outcome = clean()
    assert (outcome.exit_code, outcome.rows["accepted"]) == (0, 1)
    assert {row[0] for row in rows(REJECTED_EVENTS, "reason")} == {"unreadable"}


@pytest.mark.slow
def test_an_empty_day_is_a_day_without_events_and_a_missing_one_is_missing(
    clean: Clean, rows: Rows, tmp_path: Path
) -> None:
    write_day(tmp_path, "2024-01-01", record())
    full = clean("2024-01-01")
    write_day(tmp_path, "2024-01-01")
    empty, missing = clean("2024-01-01"), clean("2024-01-02")
    assert (full.rows["accepted"], empty.exit_code, empty.rows["records"]) == (1, 0, 0)
    assert rows(EVENTS, "event_id") == []
    assert (missing.exit_code, "2024-01-02" in missing.reason) == (3, True)


@pytest.mark.slow
def test_the_logs_words_are_translated_exactly_and_others_stay(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    words = ("addtocart", "AddToCart", "Addtocart", "view", "stare")
    write_day(tmp_path, "2024-01-01", *[record(item=word, kind=word) for word in words])
    outcome = clean(source__event_types__addtocart="cart", source__event_types__AddToCart="cart")
    assert outcome.rows["rejected_unknown_type"] == 2
    assert rows(EVENTS, "item_id", "event_type") == [("AddToCart", "cart"), ("addtocart", "cart"), ("view", "view")]


@pytest.mark.slow
def test_a_type_that_none_of_ours_stands_for_is_kept_if_the_configuration_says_so(
    clean: Clean, rows: Rows, tmp_path: Path, spark: SparkSession
) -> None:
    """It may come without an item, and passes through sessions to sequences; a record without any type is refused."""
    lines = [record(item="a"), record(item="b", kind="stare"), record(item=None, kind="home"), record(kind=" ")]
    write_day(tmp_path, "2024-01-01", *lines)
    outcome = clean(events__unknown_types="keep")
    assert (outcome.rows["accepted"], outcome.rows["rejected_unknown_type"]) == (3, 1)
    settings, day = overlays.load(assignments=[f"store.root={tmp_path}/tables"]), date(2024, 1, 1)
    for job in (build_sessions.JOB, build_sequences.JOB):
        assert execute(job, settings, spark, day, day).reason == ""
    assert [sorted(kinds) for (kinds,) in rows(SESSIONS, "event_types")] == [["home", "stare", "view"]]
    assert [sorted(kinds) for (kinds,) in rows(SEQUENCES, "event_types")] == [["stare", "view"]]


def test_a_column_that_the_log_lacks_is_named_with_those_it_has(clean: Clean, tmp_path: Path) -> None:
    write_day(tmp_path, "2024-01-01", record())
    outcome = clean(mapping={**COLUMNS, "item_id": "product"})
    assert outcome.exit_code == 2
    assert "source.columns.item_id" in outcome.reason
    assert "'user', 'item'" in outcome.reason


@pytest.mark.slow
def test_csv_without_days_in_its_path_is_read_once(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    overlay = tmp_path / "shop.toml"
    overlay.write_text(f"""
        [source]
        path = "{tmp_path}/shop/*.csv"
        format = "csv"
        time_zone = "Europe/London"
        [source.options]
        header = "true"
        [source.columns]
        user_id = "CustomerID"
        item_id = "StockCode"
        event_type = "case when try_cast(Quantity as int) < 0 then 'return' else 'purchase' end"
        event_time = "InvoiceDate"
        price = "UnitPrice"
    """)
    (tmp_path / "shop").mkdir()
    first = "CustomerID,StockCode,Quantity,InvoiceDate,UnitPrice\n17850,85123A,6,2011-06-01 08:26:00,2.55\n"
    (tmp_path / "shop" / "1.csv").write_text(first + ",71053,6,2011-06-01 08:26:00,3.39\n")
    assert clean(None, overlay=overlay).rows["rejected_missing_user"] == 1
    swapped = "StockCode,CustomerID,Quantity,InvoiceDate,UnitPrice\n85123A,17850,6,2011-06-01 08:26:00,2.55\n"
    (tmp_path / "shop" / "swapped.csv").write_text(swapped)
    refused = clean("2011-06-01", overlay=overlay)
    assert (refused.exit_code, "another header" in refused.reason) == (3, True)
    (tmp_path / "shop" / "swapped.csv").unlink()
    (tmp_path / "shop" / "2.csv").write_text(first.replace(",6,", ",-1,").replace("06-01", "06-02"))
    outcome = clean("2011-06-02", overlay=overlay)
    assert (outcome.rows["records"], outcome.rows["accepted"]) == (1, 1)
    assert rows(EVENTS, "event_type", "price", "event_time") == [
        ("purchase", Decimal("2.5500"), datetime(2011, 6, 1, 7, 26)),
        ("return", Decimal("2.5500"), datetime(2011, 6, 2, 7, 26)),
    ]


@pytest.mark.slow
def test_a_second_file_of_a_log_without_days_adds_to_the_first(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    for item in ("a", "b"):
        (tmp_path / "all" / f"{item}.json").write_text(record(item=item))
        assert clean(None, source__path=f"{tmp_path}/all/*.json").reason == ""
    assert rows(EVENTS, "item_id") == [("a",), ("b",)]


@pytest.mark.slow
def test_a_file_without_a_day_that_grows_for_longer_than_events_may_be_late_is_named(
    clean: Clean, tmp_path: Path
) -> None:
    (tmp_path / "all.json").write_text(f"{record()}\n{record(time='2024-01-12T10:00:00Z')}")
    stopped = clean(None, source__path=f"{tmp_path}/*.json", events__max_rejected_share=0.05)
    assert (stopped.exit_code, "all.json much is too late" in stopped.reason) == (4, True)


@pytest.mark.slow
def test_a_day_whose_file_is_gone_is_a_day_without_events(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    path = write_day(tmp_path, "2024-01-01", record())
    clean()
    path.unlink()
    assert clean().rows["records"] == 0
    assert rows(EVENTS, "event_id") == []


@pytest.mark.slow
def test_a_record_without_the_logs_id_gets_one_and_repeats_no_other(clean: Clean, tmp_path: Path) -> None:
    milk = record(id="", item="milk")
    write_day(tmp_path, "2024-01-01", record(id="1"), record(id="1"), milk, milk, record(item="b"))
    write_day(tmp_path, "2024-01-02", milk, milk)
    mapping = {**COLUMNS, "event_id": "id"}
    for day, counts in (("2024-01-01", (4, 1)), ("2024-01-02", (0, 2))):
        found = clean(day, mapping=mapping).rows
        assert (found["accepted"], found["duplicates"]) == counts


def test_an_event_id_that_is_not_unique_stops_the_night(clean: Clean, rows: Rows, tmp_path: Path) -> None:
    visit = [record(session="s", item=item) for item in ("a", "b", "c")]
    write_day(tmp_path, "2024-01-01", *visit, record(session="t"), record(session="t", price="1.00"))
    session = {"source__schema": SCHEMA + ", session string", "mapping": {**COLUMNS, "event_id": "session"}}
    stopped = clean(**session, events__max_rejected_share=0.3)
    assert (stopped.exit_code, "2 of 5 records have the event_id of another" in stopped.reason) == (4, True)
    assert rows(EVENTS, "event_id") == []
    assert clean(**session, events__max_rejected_share=0.4).rows["duplicates"] == 3


@pytest.mark.slow
def test_nested_json_in_milliseconds_needs_an_overlay_alone(clean: Clean, rows: Rows) -> None:
    sample = shared("otto_sample.jsonl")
    overlay = Path(__file__).parents[1] / "data" / "otto.toml"
    outcome = clean("2022-08-28", overlay=overlay, source__path=sample)
    assert outcome.rows["accepted"] == outcome.rows["records"] == 862, outcome.reason
    kinds = [row[0] for row in rows(EVENTS, "event_type")]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"view": 800, "cart": 52, "purchase": 10}


@pytest.mark.slow
def test_a_line_of_text_per_user_needs_an_overlay_alone(clean: Clean, rows: Rows) -> None:
    beauty = shared("beauty.txt")
    overlay = Path(__file__).parents[1] / "benchmarks" / "beauty.toml"
    outcome = clean("2014-01-01", overlay=overlay, source__path=beauty)
    assert outcome.rows["accepted"] == 198_502, outcome.reason
    first = [(time, item) for time, user, item in rows(EVENTS, "event_time", "user_id", "item_id") if user == "2"]
    assert [item for _, item in sorted(first)] == ["6", "7", "8", "9", "10", "4", "11"]
