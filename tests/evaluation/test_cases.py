from dataclasses import replace

import numpy as np

from nextaisle.evaluation.cases import Cases, Histories, Protocol, find_cases

VIEW, PURCHASE = 1, 6
WINDOW = Protocol("time-window", last_known=10, last_test=17, target_types=(PURCHASE,), max_context=1000)
NEXT = replace(WINDOW, name="time-next")
LEAVE_ONE_OUT = replace(WINDOW, name="leave-one-out")


def histories(*users: list[tuple[int, int, int]]) -> Histories:
    """Each user is a list of (item, event type, day)."""
    events = np.array([event for user in users for event in user], dtype=np.int64).reshape(-1, 3)
    offset = np.concatenate([[0], np.cumsum([len(user) for user in users], dtype=np.int64)])
    return Histories(offset, events[:, 0], events[:, 1], np.ones(len(events), np.bool_), events[:, 2])


def shown(cases: Cases) -> list[tuple[int, list[int], list[int]]]:
    """(user, places of the context, targets) of each case."""
    return [
        (
            int(user),
            list(range(cases.begin_B[case], cases.end_B[case])),
            cases.target_T[cases.offset_B1[case] : cases.offset_B1[case + 1]].tolist(),
        )
        for case, user in enumerate(cases.user_B)
    ]


def test_a_window_asks_for_the_set_of_items_bought_after_the_last_known_day() -> None:
    user = [(1, PURCHASE, 9), (2, PURCHASE, 10), (5, PURCHASE, 11), (4, PURCHASE, 17), (5, PURCHASE, 17)]
    assert shown(find_cases(histories(user), WINDOW)) == [(0, [0, 1], [4, 5])]


def test_what_is_only_viewed_or_bought_after_the_window_is_no_target() -> None:
    user = [(1, PURCHASE, 10), (2, VIEW, 12), (3, PURCHASE, 13), (4, PURCHASE, 18)]
    assert shown(find_cases(histories(user), WINDOW)) == [(0, [0], [3])]


def test_a_user_without_a_target_is_no_case_and_one_without_a_past_has_an_empty_context() -> None:
    silent, new = [(1, PURCHASE, 9), (2, VIEW, 12)], [(3, PURCHASE, 12)]
    assert shown(find_cases(histories(silent, new), WINDOW)) == [(1, [], [3])]


def test_next_makes_a_case_of_every_target_with_all_events_before_it_as_context() -> None:
    user = [(1, PURCHASE, 9), (2, PURCHASE, 11), (7, VIEW, 12), (3, PURCHASE, 12), (4, PURCHASE, 18)]
    assert shown(find_cases(histories(user), NEXT)) == [(0, [0], [2]), (0, [0, 1, 2], [3])]


def test_leave_one_out_asks_for_the_last_event_that_counts_and_knows_all_before_it() -> None:
    user = [(1, PURCHASE, 1), (8, VIEW, 1), (2, PURCHASE, 2), (3, PURCHASE, 30), (9, VIEW, 31)]
    other = [(4, PURCHASE, 1), (5, PURCHASE, 2), (6, PURCHASE, 3)]
    assert shown(find_cases(histories(user, other), LEAVE_ONE_OUT)) == [(0, [0, 1, 2], [3]), (1, [5, 6], [6])]


def test_leave_one_out_leaves_users_with_two_targets_to_training() -> None:
    assert shown(find_cases(histories([(1, PURCHASE, 1), (9, VIEW, 1), (2, PURCHASE, 2)]), LEAVE_ONE_OUT)) == []


def test_leave_one_out_of_a_user_who_never_did_what_counts_is_no_case() -> None:
    assert shown(find_cases(histories([(1, VIEW, 1), (2, VIEW, 2), (3, VIEW, 3)]), LEAVE_ONE_OUT)) == []


def test_a_context_is_cut_to_its_latest_events_and_never_reaches_into_the_user_before() -> None:
    first = [(1, PURCHASE, 1)] * 4
    second = [(2, PURCHASE, 1), (3, PURCHASE, 2), (4, PURCHASE, 3), (5, PURCHASE, 12)]
    short, long = replace(WINDOW, max_context=2), replace(NEXT, max_context=9)
    assert shown(find_cases(histories(first, second), short)) == [(1, [5, 6], [5])]
    assert shown(find_cases(histories(first, second), long)) == [(1, [4, 5, 6], [5])]


def test_no_events_at_all_are_no_cases() -> None:
    nobody = histories()
    for protocol in (WINDOW, NEXT, LEAVE_ONE_OUT):
        assert shown(find_cases(nobody, protocol)) == []
