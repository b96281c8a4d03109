import numpy as np
import pyarrow as pa
import pytest

from nextaisle.profiles.funnel import funnel_steps

V, C, P, Q = 1, 2, 4, 8  # viewed, carted, bought by way of the cart, bought after the view


@pytest.mark.parametrize(
    ("session", "steps"),
    [
        ("va ca pa", [V, C, P + Q]),
        ("ca va va ca pa pa", [0, V, 0, C, P + Q, 0]),
        ("pa ca", [0, 0]),
        # Bought before it was put into the cart, and once more after that.
        ("va pa ca pa", [V, Q, C, P]),
        ("va cb vb pb pa", [V, 0, V, Q, Q]),
        # A search has no item; the next session begins anew.
        ("va s- ca | ca pa va pa", [V, 0, C, 0, 0, V, Q]),
        ("s-", [0]),
        ("", []),
    ],
)
def test_a_step_counts_once_an_item_and_session_and_only_after_the_one_before(session: str, steps: list[int]) -> None:
    visits = [visit.split() for visit in session.split("|")]
    events = [event for visit in visits for event in visit]
    kinds = {"v": "view", "c": "cart", "p": "purchase", "s": "search"}
    items = pa.array([None if event[1] == "-" else event[1] for event in events], pa.string())
    types = pa.array([kinds[event[0]] for event in events], pa.string())
    sessions = np.repeat(np.arange(len(visits)), [len(visit) for visit in visits])
    assert funnel_steps(sessions, items, types).tolist() == steps
