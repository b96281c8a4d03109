"""What a run of check_tables shows in MLflow: numbers, a table of what failed, and pictures. No keys of rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from nextaisle.quality.drift import History
from nextaisle.quality.outcomes import Outcome
from nextaisle.quality.pictures import draw_drift, draw_volume
from nextaisle.tracking import Tracker

KEY_TAG = "quality_key"
_PSI, _VOLUME = "psi_", "volume"


def log_report(tracker: Tracker, outcomes: Sequence[Outcome], history: History, last: date) -> str:
    """The MLflow run of these outcomes: a new one, unless there is one with the same already."""
    key = _key(outcomes)
    if known := tracker.find(KEY_TAG, key):
        return known
    tags = {"job": "check_tables", "last_date": str(last), KEY_TAG: key}
    run_id = tracker.start(f"tables {last}", tags)
    tracker.log_metrics(run_id, metrics(outcomes, last))
    tracker.log_text(run_id, markdown_table(outcomes), "quality/failed_checks.md")
    if history.totals:
        tracker.log_figure(run_id, draw_volume(history.totals), "pictures/volume_by_day.png")
    if drift := [outcome for outcome in outcomes if outcome.check.startswith(_PSI)]:
        tracker.log_figure(run_id, draw_drift(drift), "pictures/drift_by_column.png")
    tracker.finish(run_id, "FINISHED")
    return run_id


def metrics(outcomes: Sequence[Outcome], last: date) -> dict[str, float]:
    """How many failed, and the last day's drift: `quality/errors`, `events/psi_category`."""
    failed = [outcome for outcome in outcomes if outcome.has_failed]
    errors = sum(outcome.stops_the_night for outcome in failed)
    found = {
        f"{outcome.table}/{outcome.check}": outcome.value
        for outcome in outcomes
        if outcome.day == last and outcome.check.startswith((_PSI, _VOLUME))
    }
    return found | {"quality/checks": len(outcomes), "quality/errors": errors, "quality/warnings": len(failed) - errors}


def markdown_table(outcomes: Sequence[Outcome]) -> str:
    lines = ["| day | table | check | severity | found | of rows | expected |", "|---" * 7 + "|"]
    for o in sorted(outcomes, key=lambda each: (each.severity, each.day, each.table, each.check)):
        if o.has_failed:
            expected = o.expected.replace("|", "\\|")
            lines.append(
                f"| {o.day} | {o.table} | {o.check} | {o.severity} | {o.value:g} | {o.row_count:,} | {expected} |"
            )
    return "\n".join(lines) + "\n"


def _key(outcomes: Sequence[Outcome]) -> str:
    rows = sorted(json.dumps(asdict(outcome), sort_keys=True, default=str) for outcome in outcomes)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
