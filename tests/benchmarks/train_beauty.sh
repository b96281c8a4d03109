#!/usr/bin/env bash
# Beauty from the log to test NDCG@10, the whole catalogue ranked: ./tests/benchmarks/train_beauty.sh [--set key=value]...
# Prints the table evaluations at its end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[[ -f ../shared/data/beauty.txt ]] || { echo "skipped: ../shared/data/beauty.txt is not here" >&2; exit 3; }
for job in clean_events build_sessions build_sequences build_examples train_model evaluate_model; do
  ./spark-submit.sh "$job" --conf tests/benchmarks/beauty.toml --date 2014-01-01 "$@"
done
.venv/bin/python - <<'PYTHON'
from importlib.resources import files

import duckdb

duckdb.load_extension(
    str(files("duckdb_extension_delta") / f"extensions/v{duckdb.__version__}/delta.duckdb_extension")
)

print(duckdb.sql(
    "select model, metric, round(value, 4) as value, round(low, 4) as low, round(high, 4) as high, cases "
    "from delta_scan('var/benchmarks/beauty/evaluations') where metric in ('hr_at_10', 'ndcg_at_10') "
    "and segment = 'all' order by metric, value desc"
))
PYTHON
