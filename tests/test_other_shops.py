"""Logs of real shops that nothing was written for: from the raw log to sequences by an overlay alone."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import build_sequences, build_sessions, clean_events
from nextaisle import overlays
from nextaisle.contract.tables import EVENTS, SEQUENCES, SESSIONS
from nextaisle.job import execute
from nextaisle.storage.store import Store
from tests.shared_data import shared

KINDS = {"clicks": "view", "carts": "cart", "orders": "purchase"}


@pytest.mark.slow
def test_ottos_nested_json_becomes_sequences(spark: SparkSession, tmp_path: Path) -> None:
    sample = shared("otto_sample.jsonl")
    settings = overlays.load(
        [Path(__file__).parent / "data" / "otto.toml"], [f"source.path={sample}", f"store.root={tmp_path}/tables"]
    )
    for job in (clean_events.JOB, build_sessions.JOB, build_sequences.JOB):
        outcome = execute(job, settings, spark, None, None)
        assert outcome.exit_code == 0, outcome.reason
    store = Store(spark, settings.store)
    # A user's latest row comes last, and takes the place of the earlier ones.
    rows = {row.user_id: row for row in store.read(SEQUENCES).orderBy("as_of_date").collect()}
    visitors = {str(each["session"]): each["events"] for each in map(json.loads, sample.read_text().splitlines())}
    assert set(rows) == set(visitors)
    for user, events in visitors.items():
        times, row = sorted(event["ts"] for event in events), rows[user]
        assert [round(time.replace(tzinfo=UTC).timestamp() * 1000) for time in row.event_times] == times
        known = sorted((str(event["aid"]), KINDS[event["type"]]) for event in events)
        assert sorted(zip(row.item_ids, row.event_types, strict=True)) == known
    assert sum(row.event_count for row in store.read(SESSIONS).collect()) == 862


HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
INVOICES = {
    date(2010, 12, 1): [
        '536365,85123a,"HOLDER, WHITE",6,12/1/2010 8:26,2.55,17850,United Kingdom',
        "536365,71053,LANTERN,6,12/1/2010 8:26,3.39,17850,United Kingdom",
        "536365,71053,LANTERN,6,12/1/2010 8:26,3.39,17850,United Kingdom",
        "536370,POST,POSTAGE,3,12/1/2010 8:45,18,12583,France",
        "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom",
        "536400,22139,CUP,1,12/1/2010 11:53,-1,13448,United Kingdom",
    ],
    date(2010, 12, 2): [
        "C536506,71053,LANTERN,-6,12/2/2010 12:38,3.39,17850,United Kingdom",
        "536520,BANK CHARGES,,1,12/2/2010 12:43,15,14729,United Kingdom",
        "536521,22900,TIN,1,12/2/2010 soon,5.95,14729,United Kingdom",
        "536522,22900,TIN,1,12/2/2010 23:59,5.95,14729,United Kingdom",
    ],
}


@pytest.mark.slow
def test_a_wholesalers_daily_invoices_become_events_by_an_overlay_alone(spark: SparkSession, tmp_path: Path) -> None:
    """Two lanterns on one invoice are two; a price below zero is the day's median; London has UTC in December."""
    (tmp_path / "logs").mkdir()
    for day, lines in INVOICES.items():
        (tmp_path / "logs" / f"{day}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    first, last = INVOICES
    found = {}
    for name, nights in {"by day": [(first, first), (last, last)], "at once": [(first, last)]}.items():
        sets = [f"source.path={tmp_path}/logs/{{date}}.csv", f"store.root={tmp_path}/{name}"]
        settings = overlays.load([Path(__file__).parent / "data" / "online_retail.toml"], sets)
        outcomes = [execute(clean_events.JOB, settings, spark, *night) for night in nights]
        assert [outcome.reason for outcome in outcomes] == [""] * len(nights)
        rows = Store(spark, settings.store).read(EVENTS).orderBy("event_date", "event_time", "event_id").collect()
        found[name] = [tuple(row) for row in rows]
    assert found["by day"] == found["at once"]
    assert outcomes[-1].rows == {
        "files": 2, "records": 10, "accepted": 6, "rejected": 4, "duplicates": 0, "rejected_missing_time": 1,
        "rejected_missing_user": 1, "rejected_odd_item": 2, "emptied_price": 1, "filled_price": 1,
    }  # fmt: skip
    events = [(row.event_time, row.user_id, row.item_id, row.event_type, row.price, row.quantity) for row in rows]
    morning, kinds = datetime(2010, 12, 1, 8, 26), ("purchase", "return")
    lantern, six = Decimal("3.3900"), Decimal("6.000")
    assert sorted(events) == sorted([
        (morning, "17850", "85123A", kinds[0], Decimal("2.5500"), six),
        (morning, "17850", "71053", kinds[0], lantern, six),
        (morning, "17850", "71053", kinds[0], lantern, six),
        (datetime(2010, 12, 1, 11, 53), "13448", "22139", kinds[0], lantern, Decimal("1.000")),
        (datetime(2010, 12, 2, 12, 38), "17850", "71053", kinds[1], lantern, six),
        (datetime(2010, 12, 2, 23, 59), "14729", "22900", kinds[0], Decimal("5.9500"), Decimal("1.000")),
    ])  # fmt: skip
