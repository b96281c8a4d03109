#!/usr/bin/env bash
# Runs a job: sets the machine up on first use (conf/setup.sh), zips the package, calls the environment's spark-submit.
set -euo pipefail
NEXTAISLE_HOME=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export NEXTAISLE_HOME

usage() {
  echo "./spark-submit.sh JOB [--conf FILE]... [--date DAY | --from DAY --to DAY] [--set section.key=value]... [-- SPARK OPTIONS]"
  echo "  --outcome FILE  also writes the outcome there (any Hadoop URI);  --dry-run  only sets up, and shows Spark's command line"
  echo
  awk 'FNR == 1 { gsub(/"""/, ""); name = FILENAME; gsub(/.*\/|\.py$/, "", name); printf "  %-17s %s\n", name, $0 }' \
    "$NEXTAISLE_HOME"/jobs/*.py
}
usage_of_job() { # the job's own words, once there is an environment to read them with
  PYTHONPATH=$NEXTAISLE_HOME/lib:$NEXTAISLE_HOME "$NEXTAISLE_HOME/.venv/bin/python" "$NEXTAISLE_HOME/jobs/$job.py" --help 2> /dev/null || usage
}
refuse() { printf 'spark-submit.sh: %s\n' "$1" >&2; exit 2; }
absolute() { [[ $1 == *://* ]] && echo "$1" || realpath -ms "$1"; }

job=${1:---help}
[[ $job == -h || $job == --help ]] && { usage; exit; }
[[ $job =~ ^[a-z][a-z0-9_]*$ && -f $NEXTAISLE_HOME/jobs/$job.py ]] || { usage >&2; refuse "there is no job $job"; }
shift

words=() overlays=() outcome="" is_dry_run=""
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    --conf | --outcome) [[ -n ${2:-} ]] || refuse "$1 needs a file" ;;&
    --conf) overlays+=("$(absolute "$2")"); shift ;;
    --conf=*) overlays+=("$(absolute "${1#*=}")") ;;
    --outcome) outcome=$(absolute "$2"); shift ;;
    --outcome=*) outcome=$(absolute "${1#*=}") ;;
    --dry-run) is_dry_run=1 ;;
    -h | --help) usage_of_job; exit ;;
    *) words+=("$1") ;;
  esac
  shift
done
[[ $# -eq 0 ]] || shift # behind -- stand Spark's own options
[[ ${#overlays[@]} -gt 0 ]] || overlays=("$NEXTAISLE_HOME/conf/local.toml")
for overlay in "${overlays[@]}"; do words+=(--conf "$overlay"); done

"$NEXTAISLE_HOME/conf/setup.sh"
python=$NEXTAISLE_HOME/.venv/bin/python
export PYSPARK_PYTHON=$python PYSPARK_DRIVER_PYTHON=$python # on executors spark.pyspark.python goes first
export SPARK_HOME=$NEXTAISLE_HOME/.venv/lib/python3.11/site-packages/pyspark SPARK_CONF_DIR=${SPARK_CONF_DIR:-$NEXTAISLE_HOME/conf}
options=(--properties-file "$NEXTAISLE_HOME/conf/spark-defaults.conf" --py-files "$("$python" -IS "$NEXTAISLE_HOME/conf/package.py")")
source "$NEXTAISLE_HOME/conf/launch.sh"
if is_cluster_mode "$@"; then ship_configuration; else keep_to_this_folder "$@"; fi
[[ -n $outcome ]] || outcome=$NEXTAISLE_HOME/var/outcome.$$.json is_own_outcome=1
command=("$SPARK_HOME/bin/spark-submit" "${options[@]}" "$@" "$NEXTAISLE_HOME/jobs/$job.py" "${words[@]}" --outcome "$outcome")
[[ -z $is_dry_run ]] || { printf '%q ' "${command[@]}"; echo; exit; }

trap '[[ -z ${is_own_outcome:-} ]] || rm -f "$outcome"' EXIT
forget_outcome "$outcome"
run_to_its_end "${command[@]}"
exit_as_outcome "$outcome"
