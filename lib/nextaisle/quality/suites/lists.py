"""Suites of what a model learns from, and of what it gives: examples, recommendations, evaluations."""

from typing import Final

from nextaisle.contract.tables import EVALUATION_CASES, EVALUATIONS, EXAMPLES, RECOMMENDATIONS
from nextaisle.quality.expectations import Expectation, Suite, not_null, unique
from nextaisle.quality.suites.words import AS_IT_IS, local_day, same_lengths

_EXAMPLES = Suite(
    EXAMPLES,
    """
    select *, as_of_date as day
    from {examples} cross join (select coalesce(max(item_index), 0) as last_index from {items})
    """,
    ("example_id", "split"),
    (
        not_null(EXAMPLES),
        Expectation("accepted_values_split", "split in ('train', 'validation', 'test')"),
        Expectation(
            "equal_lengths",
            same_lengths("size(item_indices)", "event_type_indices", "is_session_end", "target_indices"),
        ),
        Expectation("accepted_range_length", "length between 1 and size(item_indices)"),
        Expectation("relationships_items", "array_min(item_indices) >= 0 and array_max(item_indices) <= last_index"),
        # Every window has a target.
        Expectation(
            "relationships_target_items",
            "array_min(target_indices) >= 0 and array_max(target_indices) between 1 and last_index",
        ),
    ),
)

_RECOMMENDATIONS = Suite(
    RECOMMENDATIONS,
    """
    select *, score_date as day, lag(rank) over list as rank_before,
      lag(score) over (partition by score_date, user_id, variant, reason order by rank, item_id) as score_before
    from {recommendations}
    window list as (partition by score_date, user_id, variant order by rank, item_id)
    """,
    ("user_id", "variant", "rank"),
    (
        not_null(RECOMMENDATIONS),
        # Ranks are 1, 2, ... without a gap.
        Expectation("no_gaps_rank", "rank = coalesce(rank_before, 0) + 1"),
        Expectation("descending_score", "score_before is null or score <= score_before"),
        Expectation("accepted_range_score", "not isnan(score) and abs(score) < double('infinity')"),
        Expectation("accepted_values_reason", "reason in ('model', 'popular')"),
    ),
)

_RECOMMENDED_ITEMS = Suite(
    RECOMMENDATIONS,
    """
    select day, item_id, known_id
    from (select distinct score_date as day, item_id from {recommendations})
    left join (select distinct item_id, item_id as known_id from {items}) using (item_id)
    """,
    ("item_id",),
    (Expectation("relationships_items", "known_id is not null"),),
)

_RECOMMENDED_USERS = Suite(
    RECOMMENDATIONS,
    f"""
    select day, user_id, known_since, listed_id
    from (select distinct score_date as day, user_id from {{recommendations}})
    left join (
      select user_id, {local_day("min(get(event_times, 0))")} as known_since from {{histories}} group by user_id
    ) using (user_id)
    left join (select distinct user_id, user_id as listed_id from {{listed_users}}) using (user_id)
    """,
    ("user_id",),
    (Expectation("relationships_users", "known_since <= day or listed_id is not null"),),
)

_EVALUATIONS = Suite(
    EVALUATIONS,
    f"select *, {AS_IT_IS} as day from {{evaluations}}",
    EVALUATIONS.key,
    (
        not_null(EVALUATIONS),
        Expectation("accepted_range_value", "value between low and high"),
        Expectation("accepted_range_cases", "cases >= 1"),
    ),
)

# Of the run judged last: a row for each user of every run that ever was would soon be more than a night brings.
_CASES_OF_NEWEST = f"""
    select *, {AS_IT_IS} as day from {{evaluation_cases}} where run_id = (
      select max_by(tracking_run_id, started_time) from {{job_runs}} where job = 'evaluate_model' and outcome = 'done'
    )
"""

_CASES = Suite(
    EVALUATION_CASES,
    _CASES_OF_NEWEST,
    EVALUATION_CASES.key,
    (
        not_null(EVALUATION_CASES),
        Expectation("accepted_range_cases", "cases >= 1"),
        # A mean of ones may be 1 and a rounding.
        Expectation("accepted_range_metrics", "forall(map_values(metrics), value -> value between 0 and 1 + 1e-9)"),
    ),
)

_UNIQUE_CASES = Suite(
    EVALUATION_CASES,
    f"select day, {', '.join(EVALUATION_CASES.key)}, count(*) as copies from ({_CASES_OF_NEWEST}) group by all",
    EVALUATION_CASES.key,
    (Expectation("unique_key", "copies = 1"),),
)

_CASES_OF_MODELS = Suite(
    EVALUATION_CASES,
    f"""
    select day, run_id, model, protocol, split, sum(cases) as cases, any_value(judged_cases) as judged_cases
    from ({_CASES_OF_NEWEST}) left join (
      select run_id, model, protocol, split, max(cases) as judged_cases from {{evaluations}} where segment = 'all'
      group by all
    ) using (run_id, model, protocol, split) group by all
    """,
    ("run_id", "model", "protocol", "split"),
    (Expectation("reconciled_evaluations", "cases = judged_cases"),),
)

OF_LISTS: Final = (
    _EXAMPLES,
    unique(EXAMPLES),
    _RECOMMENDATIONS,
    unique(RECOMMENDATIONS),
    unique(RECOMMENDATIONS, "score_date", "user_id", "variant", "item_id", name="unique_item_id"),
    _RECOMMENDED_ITEMS,
    _RECOMMENDED_USERS,
    unique(EVALUATIONS, day=AS_IT_IS),
    _EVALUATIONS,
    _CASES,
    _UNIQUE_CASES,
    _CASES_OF_MODELS,
)
