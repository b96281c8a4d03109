import numpy as np
import pytest

from nextaisle import overlays
from nextaisle.config import Synthetic
from nextaisle.synthetic.visits import FUNNEL, Actions, actions, next_places

DAY = 86_400_000


def shoppers(*assignments: str) -> Synthetic:
    return overlays.load([], [f"synthetic.{assignment}" for assignment in assignments]).synthetic


def rows(done: Actions) -> list[tuple[int, ...]]:
    columns = (done.user, done.nth, done.visit, done.place, done.kind, done.time, done.quantity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_chain_goes_on_to_the_successor_and_round_the_cycle() -> None:
    first, is_jump = np.array([5, 0, 0, 2, 0]), np.array([True, False, False, True, False])
    assert next_places(first, is_jump, items=7).tolist() == [5, 6, 0, 2, 3]


def test_a_user_alone_does_what_the_user_does_among_others() -> None:
    asked = shoppers()
    alone = rows(actions(np.array([7]), asked))
    among = [row for row in rows(actions(np.arange(20), asked)) if row[0] == 7]
    assert alone
    assert alone == among


def test_more_days_leave_the_earlier_ones_as_they_are() -> None:
    few, many = (rows(actions(np.arange(50), shoppers(f"days={days}"))) for days in (5, 14))
    assert set(few) < set(many)


def test_another_seed_makes_other_shoppers() -> None:
    assert rows(actions(np.arange(5), shoppers())) != rows(actions(np.arange(5), shoppers("seed=2")))


@pytest.mark.parametrize("events", [0.05, 1.0, 6.0, 300.0])
def test_users_have_as_many_events_a_day_as_asked_for(events: float) -> None:
    users = int(max(400, 20_000 / events))
    done = actions(np.arange(users), shoppers(f"events_per_user_day={events}", "days=14"))
    assert len(done.user) / (users * 14) == pytest.approx(events, rel=0.08)


@pytest.mark.parametrize("events", [6.0, 3000.0])
def test_times_increase_and_visits_stay_within_their_day(events: float) -> None:
    done = actions(np.arange(20), shoppers(f"events_per_user_day={events}"))
    is_same_user = done.user[1:] == done.user[:-1]
    assert (np.diff(done.time)[is_same_user] > 0).all()
    assert (done.time // DAY == 19_723 + done.visit // 3).all()  # 2024-01-01 is day 19,723 since 1970


def test_visits_lie_half_an_hour_apart_and_their_events_closer() -> None:
    done = actions(np.arange(500), shoppers())
    is_same_user, gap = done.user[1:] == done.user[:-1], np.diff(done.time)
    is_same_visit = is_same_user & (done.visit[1:] == done.visit[:-1])
    assert gap[is_same_visit].max() <= 90_000
    assert gap[is_same_user & ~is_same_visit].min() >= 30 * 60_000


def test_a_cart_follows_a_view_and_a_purchase_a_cart_of_the_same_item() -> None:
    done = actions(np.arange(500), shoppers())
    rest = np.flatnonzero(done.kind > 0)
    assert (done.kind[rest - 1] == done.kind[rest] - 1).all()
    assert (done.place[rest - 1] == done.place[rest]).all()
    views, carts, purchases = (int((done.kind == kind).sum()) for kind in range(len(FUNNEL)))
    assert carts / views == pytest.approx(0.25, abs=0.02)
    assert purchases / carts == pytest.approx(0.4, abs=0.03)


def test_users_come_back() -> None:
    done = actions(np.arange(500), shoppers())
    days = {user: np.unique(done.visit[done.user == user] // 3) for user in range(500)}
    assert sum(len(found) > 1 for found in days.values()) > 350


def test_most_visits_are_in_the_evening() -> None:
    done = actions(np.arange(500), shoppers())
    part_of_day = np.unique(np.stack([done.user, done.visit]), axis=1)[1] % 3
    shares = np.bincount(part_of_day) / len(part_of_day)
    assert shares.tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.03)
    hour = done.time % DAY // 3_600_000
    assert (hour[done.visit % 3 == 2] >= 18).all()
