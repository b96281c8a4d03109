"""Logs of real shops that nothing was written for: from the raw log to sequences by an overlay alone."""

import json
from datetime import UTC
from pathlib import Path

from pyspark.sql import SparkSession

from jobs import build_sequences, build_sessions, clean_events
from nextaisle import overlays
from nextaisle.contract.tables import SEQUENCES, SESSIONS
from nextaisle.job import execute
from nextaisle.store import Store
from tests.shared_data import shared

KINDS = {"clicks": "view", "carts": "cart", "orders": "purchase"}


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
