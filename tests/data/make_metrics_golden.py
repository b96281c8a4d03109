"""Makes metrics_golden.json with ranx, which is not in the project's environment:

uv run --no-project --python 3.11 --with ranx==0.3.21 python tests/data/make_metrics_golden.py
"""

import json
import random
from pathlib import Path

from ranx import Qrels, Run, evaluate

METRICS = {"hr": "hit_rate", "map": "map", **{name: name for name in ("recall", "precision", "f1", "ndcg", "mrr")}}
KS = (1, 5, 10, 20)
LIST_LENGTH = 20


def make_cases(seed: int, count: int) -> list[dict[str, list[int]]]:
    """Lists of 20 of 60 items, some shorter; 1 to 30 targets, some of them in no list."""
    random_ = random.Random(seed)
    cases = []
    for number in range(count):
        length = LIST_LENGTH if number % 4 else random_.randint(1, LIST_LENGTH)
        targets = random_.sample(range(1, 80), random_.choice((1, 1, 2, 5, 12, 30)))
        cases.append({"list": random_.sample(range(1, 61), length), "targets": sorted(targets)})
    return cases


def main() -> None:
    cases = make_cases(seed=7, count=60)
    qrels = Qrels({f"{n:03}": {str(item): 1 for item in case["targets"]} for n, case in enumerate(cases)})
    scores = {f"{n:03}": {str(item): 100 - at for at, item in enumerate(case["list"])} for n, case in enumerate(cases)}
    run = Run(scores)
    values = {
        f"{ours}_at_{k}": [float(v) for v in evaluate(qrels, run, f"{theirs}@{k}", return_mean=False)]
        for k in KS
        for ours, theirs in METRICS.items()
    }
    content = {"ks": KS, "cases": cases, "values": values}
    Path(__file__).with_name("metrics_golden.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
