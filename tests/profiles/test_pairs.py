from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nextaisle.profiles import pairs
from nextaisle.profiles.pairs import Rules, session_pairs

MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = {"v": "view", "c": "cart", "p": "purchase", "s": "search", "i": "impression"}
RULES = Rules(("view", "cart", "purchase"), max_distance=2, max_basket_items=10, zone="UTC")


def batch(*sessions: str) -> pa.RecordBatch:
    """Sessions as "va@0 pb@5": a view of a at 00:00, a purchase of b at 00:05; without a time, a minute apart."""
    rows = []
    for number, session in enumerate(sessions):
        events = [_timed(event, place) for place, event in enumerate(session.split())]
        rows.append(
            {
                "session_id": f"session {number}",
                "item_ids": [event[1:] or None for event, _ in events],
                "event_types": [KINDS[event[0]] for event, _ in events],
                "event_times": [MIDNIGHT + timedelta(minutes=minute) for _, minute in events],
            }
        )
    schema = pa.schema(
        {
            "session_id": pa.string(), "item_ids": pa.list_(pa.string()), "event_types": pa.list_(pa.string()),
            "event_times": pa.list_(pa.timestamp("us", "UTC")),
        }
    )  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema)


def _timed(event: str, place: int) -> tuple[str, float]:
    name, _, minute = event.partition("@")
    return name, float(minute or place)


def counted(*sessions: str, rules: Rules = RULES) -> Counter[str]:
    """As "a b view_cart 1", with how often."""
    found: Counter[str] = Counter()
    for part in session_pairs([batch(*sessions)], rules):
        for row in part.to_pylist():
            pair = " ".join(str(row[name]) for name in ("from_item_id", "to_item_id", "kind", "distance"))
            found[pair] += row["pair_count"]
    return found


def test_transitions_lead_over_up_to_max_distance_places() -> None:
    assert counted("va vb cc vd") == {
        "a b view_view 1": 1, "b c view_cart 1": 1, "c d cart_view 1": 1, "a c view_cart 2": 1, "b d view_view 2": 1,
    }  # fmt: skip


def test_what_is_no_wanted_event_takes_no_place() -> None:
    assert counted("va s ix vb") == {"a b view_view 1": 1}


def test_an_item_leads_neither_to_itself_nor_to_another_session_nor_within_an_instant() -> None:
    assert counted("va ca", "vb") == {}
    assert counted("va@0 vb@1 vc@1") == {"a b view_view 1": 1, "a c view_view 2": 1}


def test_the_same_transition_twice_counts_twice() -> None:
    assert counted("va vb va vb", rules=RULES._replace(max_distance=1)) == {"a b view_view 1": 2, "b a view_view 1": 1}


def test_items_of_one_basket_are_paired_once_the_smaller_id_first() -> None:
    baskets = counted("pb@0 pa@0 pb@0 vc@0 pd@0", "pa@0 pb@0", rules=RULES._replace(event_types=("view",)))
    assert baskets == {"a b co_purchase 0": 2, "a d co_purchase 0": 1, "b d co_purchase 0": 1}


def days_of_pairs(session: str, rules: Rules) -> Counter[tuple[int, str]]:
    names = ("from_item_id", "to_item_id", "kind")
    found: Counter[tuple[int, str]] = Counter()
    for part in session_pairs([batch(session)], rules):
        for row in part.to_pylist():
            found[row["event_date"].day, " ".join(row[name] for name in names)] += row["pair_count"]
    return found


def test_a_pair_has_the_day_of_its_later_event() -> None:
    """In New York midnight is at 300 minutes; a was bought before it already."""
    assert days_of_pairs("pa@290 pb@299 pa@300", RULES._replace(zone="America/New_York")) == {
        (31, "a b co_purchase"): 1, (31, "a b purchase_purchase"): 1, (1, "b a purchase_purchase"): 1,
    }  # fmt: skip


def test_a_larger_basket_is_sampled_by_session_the_same_every_time() -> None:
    rules = Rules((), max_distance=1, max_basket_items=3, zone="UTC")
    baskets = [" ".join(f"p{item}@0" for item in "abcdefgh")] * 40
    found = counted(*baskets, rules=rules)
    assert sum(found.values()) == 40 * 3
    assert found == counted(*baskets, rules=rules)
    # Another session, other items: none is left out for good.
    assert len(found) > 20


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("vp"), st.sampled_from("abcdefgh"), st.integers(0, 3))), st.integers(2, 4))
def test_what_comes_after_midnight_changes_no_pair_of_a_day_before(
    events: list[tuple[str, str, int]], max_basket_items: int
) -> None:
    """Events are at 12:00, 18:00, 00:00 and 06:00."""
    events = sorted(events, key=lambda event: event[2])
    session, evening = (
        " ".join(f"{kind}{item}@{720 + place * 360}" for kind, item, place in events if place < end) for end in (4, 2)
    )
    rules = RULES._replace(max_basket_items=max_basket_items)
    whole = days_of_pairs(session, rules)
    assert days_of_pairs(evening, rules) == {pair: count for pair, count in whole.items() if pair[0] == 1}


def test_each_days_part_of_a_basket_is_sampled_by_itself() -> None:
    session = " ".join([*(f"p{item}@1439" for item in "abcd"), *(f"p{item}@1440" for item in "defgh")])
    found = days_of_pairs(session, RULES._replace(event_types=(), max_basket_items=3))
    # Three items of the first day are paired; then each with three of the next, and these.
    assert Counter(day for day, _ in found.elements()) == {1: 3, 2: 3 * 3 + 3}


EVENTS = st.tuples(st.sampled_from("vcps"), st.sampled_from("abcd"), st.integers(0, 3))


@hypothesis_settings(deadline=None)
@given(st.lists(st.lists(EVENTS, max_size=8), max_size=6), st.integers(1, 4), st.integers(1, 6))
def test_pairs_are_those_of_plain_counting_whatever_the_blocks(
    sessions: list[list[tuple[str, str, int]]], max_distance: int, block_events: int
) -> None:
    told: Counter[str] = Counter()
    for session in sessions:
        told += _plain(sorted(session, key=lambda event: event[2]), max_distance)
    texts = [
        " ".join(
            f"{kind}{item if kind != 's' else ''}@{minute}" for kind, item, minute in sorted(s, key=lambda e: e[2])
        )
        for s in sessions
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "_BLOCK_EVENTS", block_events)
        assert counted(*texts, rules=RULES._replace(max_distance=max_distance)) == told


ITEMS = st.sampled_from(("a", "ab", "b"))


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(ITEMS, ITEMS, st.integers(1, 2)), min_size=1))
def test_rows_of_one_pair_are_added_up(rows: list[tuple[str, str, int]]) -> None:
    """Each once on the first day, and as often as it is told on the second."""
    told: Counter[tuple[int, str, str]] = Counter()
    for first, second, count in rows:
        told += Counter({(1, first, second): 1, (2, first, second): count})
    columns = [[*(row[place] for row in rows), *(row[place] for row in rows)] for place in (0, 1)]
    days = [date(2024, 1, 1)] * len(rows) + [date(2024, 1, 2)] * len(rows)
    counts = [1] * len(rows) + [count for _, _, count in rows]
    names = ("from_item_id", "to_item_id", "kind", "distance", "event_date", "pair_count")
    table = pa.table([*columns, ["view_view"] * len(days), [1] * len(days), days, counts], names)
    found = pairs.counted_pairs(table).to_pylist()
    assert {(row["event_date"].day, row["from_item_id"], row["to_item_id"]): row["pair_count"] for row in found} == told
    order = [tuple(row[name] for name in ("event_date", "kind", "from_item_id", "to_item_id")) for row in found]
    assert order == sorted(order)


def _plain(session: Sequence[tuple[str, str, int]], max_distance: int) -> Counter[str]:
    events = [event for event in session if event[0] != "s"]
    found = Counter(
        f"{a[1]} {b[1]} {KINDS[a[0]]}_{KINDS[b[0]]} {j - i}"
        for (i, a), (j, b) in combinations(enumerate(events), 2)
        if j - i <= max_distance and a[1] != b[1] and a[2] < b[2]
    )
    bought = sorted({item for kind, item, _ in events if kind == "p"})
    return found + Counter(f"{a} {b} co_purchase 0" for a, b in combinations(bought, 2))
