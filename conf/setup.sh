#!/usr/bin/env bash
# Makes .venv: Python packages, Horovod built for this torch, Delta's JARs. Called by spark-submit.sh and tests/run.
#
# Every step is found done or done again, so an interrupted set-up goes on where it stopped; when nothing changed the
# first lines below end it within milliseconds, without a network. What is slow to make is kept in
# ${NEXTAISLE_CACHE:-~/.cache/nextaisle} (Horovod's wheel, the JARs) and in uv's own cache (packages): all clones share it.
# pip's, uv's and Java's own settings (mirrors, proxies, certificates) are honoured. `rm -rf .venv` mends everything.
#
# conf/requirements.txt comes from pyproject.toml:
#   .venv/bin/uv pip compile --extra dev --python-version 3.11 --no-header --no-annotate pyproject.toml -o conf/requirements.txt
set -euo pipefail

root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
venv=$root/.venv
python=$venv/bin/python
stamps=$venv/.nextaisle
requirements=$root/conf/requirements.txt
cache=${NEXTAISLE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/nextaisle}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
uv_version=0.13.9

# --- nothing changed: done ---------------------------------------------------------------------------------------------
# The folder belongs to the hash because an environment does not survive being moved.
read -r wanted _ < <({ cat "$requirements" "${BASH_SOURCE[0]}"; echo "$root"; } | sha256sum)
is_ready() {
  local found=""
  [[ -r $stamps/done ]] && read -r found < "$stamps/done"
  [[ $found == "$wanted" && -x $python ]] && type -P "$java" > /dev/null
}
is_ready && exit 0

# --- what the machine must have ----------------------------------------------------------------------------------------
say() { printf '[set-up %3d s] %s\n' "$SECONDS" "$*" >&2; }
fail() { printf 'set-up: %s\n' "$@" >&2; exit 2; }
pinned() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" "$requirements"; }

horovod=0.28.1
find_gpu() { # NCCL where CUDA's compiler and nccl.h are, else empty; an environment variable of the caller decides
  local cuda=${CUDA_HOME:-/usr/local/cuda} folder
  [[ -n ${HOROVOD_GPU_OPERATIONS+x} ]] && { echo "$HOROVOD_GPU_OPERATIONS"; return; }
  type -P nvcc > /dev/null || type -P "$cuda/bin/nvcc" > /dev/null || return 0
  for folder in "${HOROVOD_NCCL_HOME:-$cuda}/include" "$cuda/include" /usr/include /usr/include/x86_64-linux-gnu; do
    [[ -f $folder/nccl.h ]] && { echo NCCL; return; }
  done
  return 0
}
gpu=$(find_gpu)
wheels=$cache/wheels/horovod-$horovod-torch$(pinned torch)-cp311-$(uname -m)-${gpu:-cpu}
delta=delta-spark_2.13-$(pinned delta-spark)
jars=$cache/jars/$delta

find_python() { # the first Python 3.11 on the PATH that can make environments
  local candidate
  while read -r candidate; do
    "$candidate" -c 'import sys, venv, ensurepip, ssl, sqlite3, lzma; sys.exit(sys.version_info[:2] != (3, 11))' \
      2> /dev/null && { echo "$candidate"; return; }
  done < <(type -aP python3.11 python3 python)
  return 0
}

check_machine() {
  local problems=() major need free
  [[ $(uname -s) == Linux ]] || problems+=("this is $(uname -s); the pinned packages are those of Linux")
  base=$(find_python)
  [[ -n $base ]] || problems+=("no Python 3.11 with its venv module on the PATH: apt install python3.11 python3.11-venv, dnf install python3.11, or pyenv install 3.11")
  major=$({ "$java" -version 2>&1 || true; } | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [[ ${major:-0} -ge 17 ]] || problems+=("Java 17 or 21 is needed, found ${major:-none}: apt install openjdk-17-jre-headless, dnf install java-17-openjdk-headless, or set JAVA_HOME")
  type -P flock > /dev/null || problems+=("no flock: apt install util-linux, or dnf install util-linux")
  need=2
  if ! compgen -G "$wheels/*.whl" > /dev/null; then
    need=12
    type -P g++ > /dev/null || problems+=("no g++, which builds Horovod: apt install g++, or dnf install gcc-c++")
    [[ -z $base ]] || "$base" -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_path("include"), "Python.h").stat()' \
      2> /dev/null || problems+=("no Python.h, which Horovod needs: apt install python3.11-dev, or dnf install python3.11-devel")
  fi
  free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1048576) }')
  [[ -x $python || $free -ge $need ]] || problems+=("$free GB free in $root; this set-up takes up to $need GB")
  [[ ${#problems[@]} -eq 0 ]] || fail "${problems[@]}"
}

# --- steps -------------------------------------------------------------------------------------------------------------
child=""
scratch=""
# A step runs in a process group of its own, so that ending the set-up ends compilers and downloads too.
end_child() { [[ -z $child ]] || kill -TERM -- "-$child" 2> /dev/null || true; }
trap 'end_child; [[ -z $scratch ]] || rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
run() {
  setsid "$@" >&2 &
  child=$!
  wait "$child" || { local code=$?; child=""; return "$code"; }
  child=""
}
run_logged() { # $1: log; silent when it goes well, apart from a sign of life
  local log=$1 beat
  shift
  (exec 8<&- 9<&-; while sleep 30 > /dev/null 2>&1 && kill -0 $$ 2> /dev/null; do say "  still at it"; done) &
  beat=$!
  run "$@" &> "$log" || { kill "$beat" || true; tail -n 30 "$log" >&2; fail "failed: $* (the last lines are above)"; }
  kill "$beat" || true
}
stamp() { echo "$2" > "$stamps/$1.new" && mv "$stamps/$1.new" "$stamps/$1"; }
is_stamped() { [[ -f $stamps/$1 && $(< "$stamps/$1") == "$2" ]]; }

make_environment() {
  [[ ! -L $venv ]] || fail "$venv is a link to $(readlink -f "$venv"), which belongs to another folder; remove the link"
  # Scripts in bin/ name their folder, so an environment that was moved is made anew; so is one that was left half made,
  # since uv trusts what looks installed. Its cache has the packages.
  if [[ -f $stamps/begun ]] || ! grep -qsF "$venv/" "$venv/bin/pip" \
    || ! "$python" -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
    say "making .venv with $base"
    run "$base" -m venv --clear "$venv" || fail "$base -m venv failed; apt install python3.11-venv may mend it"
  fi
  mkdir -p "$stamps"
}

install_uv() {
  [[ $("$venv/bin/uv" --version 2> /dev/null) == "uv $uv_version "* ]] && return
  say "installing uv $uv_version"
  run "$python" -m pip install --quiet --disable-pip-version-check --force-reinstall "uv==$uv_version" \
    || fail "pip could not install uv; is the package index reachable?"
}

uv() { run "$venv/bin/uv" pip install --python "$python" "$@" || fail "uv could not install $*"; }

install_requirements() {
  local hash
  read -r hash _ < <(sha256sum "$requirements")
  is_stamped requirements "$hash" && return
  say "installing $(grep -c == "$requirements") packages (up to 4 GB of downloads the first time)"
  touch "$stamps/begun"
  # The list is complete, which is checked at the end: nothing has to be asked for that the cache has.
  uv --no-deps -r "$requirements"
  rm "$stamps/begun"
  stamp requirements "$hash"
}

build_horovod() {
  compgen -G "$wheels/*.whl" > /dev/null && return
  say "building Horovod $horovod for torch $(pinned torch), ${gpu:-CPU} (3 to 6 minutes on two cores)"
  scratch=$(mktemp -d "$cache/build.XXXXXX")
  mkdir "$scratch/bin"
  # Horovod asks for C++14, this torch needs C++17: the last -std counts. Horovod uses headers that it does not name, and
  # that g++ brought along by itself until 13.
  printf '#!/bin/sh\nexec g++ %s "$@" -std=gnu++17\n' "$(printf -- '-include %s ' cstdint string stdexcept memory functional)" > "$scratch/bin/cxx17"
  # A machine with g++ may lack make, so ninja builds; it does not know the word that Horovod's setup.py means for make.
  printf '#!/bin/sh\nfor word; do shift; [ "$word" = VERBOSE=1 ] || set -- "$@" "$word"; done\nexec "%s" "$@"\n' "$venv/bin/ninja" > "$scratch/bin/ninja"
  chmod +x "$scratch"/bin/*
  uv --quiet 'cmake<4' ninja wheel
  run_logged "$cache/horovod.log" env PATH="$scratch/bin:$venv/bin:$PATH" CXX="$scratch/bin/cxx17" CMAKE_GENERATOR=Ninja MAKEFLAGS="-j$(nproc)" TMPDIR="$scratch" \
    HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
    HOROVOD_CPU_OPERATIONS=GLOO ${gpu:+HOROVOD_GPU_OPERATIONS="$gpu"} \
    "$python" -m pip wheel --no-build-isolation --no-deps --no-binary horovod --no-cache-dir --wheel-dir "$scratch/wheel" "horovod==$horovod"
  mkdir -p "$cache/wheels" && rm -rf "$wheels" && mv "$scratch/wheel" "$wheels"
  rm -rf "$scratch" && scratch=""
}

install_horovod() {
  is_stamped horovod "$wheels" && "$python" -c 'import importlib.metadata as m; m.version("horovod")' 2> /dev/null && return
  build_horovod
  say "installing Horovod"
  uv --quiet --no-deps --reinstall "$wheels"/*.whl
  stamp horovod "$wheels"
}

fetch_jars() { # Spark's own Ivy brings them; nothing else of Maven is needed
  [[ -d $jars ]] && return
  say "fetching Delta's JARs"
  scratch=$(mktemp -d "$cache/ivy.XXXXXX")
  run_logged "$cache/jars.log" env PYSPARK_PYTHON="$python" SPARK_CONF_DIR="$root/conf" SPARK_HOME="$spark" "$python" -c "
from pyspark.sql import SparkSession
options = {'spark.jars.packages': 'io.delta:${delta/_2.13-/_2.13:}', 'spark.jars.ivy': '$scratch', 'spark.driver.memory': '512m'}
SparkSession.builder.master('local[1]').config(map=options).getOrCreate().stop()
"
  mkdir -p "$cache/jars" && mv "$scratch/jars" "$jars"
  rm -rf "$scratch" && scratch=""
}

install_jars() {
  local jar into=$spark/jars
  is_stamped jars "$delta" && [[ -f $into/io.delta_$delta.jar ]] && return
  fetch_jars
  rm -f "$into"/io.delta_*.jar "$into"/org.antlr_*.jar
  for jar in "$jars"/*.jar; do
    # Spark has ANTLR's runtime already.
    [[ $jar == */org.antlr_antlr4-runtime-* ]] && compgen -G "$into/antlr4-runtime-*.jar" > /dev/null && continue
    cp "$jar" "$into/.new" && mv "$into/.new" "$into/${jar##*/}"
  done
  stamp jars "$delta"
}

check_environment() {
  say "checking what was installed"
  "$venv/bin/uv" pip check --quiet --python "$python" >&2 \
    && "$python" -c 'import delta, horovod.torch, mlflow, pandas, petastorm, pyarrow, pydantic, pyspark.sql, torch' >&2 \
    || { rm -f "$stamps"/*; touch "$stamps/begun"; fail "the packages do not hold together; running this again makes it anew" \
      "if that does not help: rm -rf .venv $wheels"; }
}

# --- go ----------------------------------------------------------------------------------------------------------------
base=""
check_machine
mkdir -p "$cache"
# The folders themselves are the locks: of two set-ups the second waits and then finds the work done.
exec 8< "$root" 9< "$cache"
flock -n 8 || { say "another set-up of this clone is running; waiting for it"; flock 8; }
is_ready && exit 0
say "setting up $root; caches: $cache and uv's own"
make_environment
spark=$venv/lib/python3.11/site-packages/pyspark
flock -n 9 || { say "another clone is being set up; waiting for it"; flock 9; }
# The system's certificates hold what a company adds to the public ones; uv alone would not look there.
[[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] && export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
install_uv
install_requirements
install_horovod
install_jars
check_environment
stamp "done" "$wanted"
say "ready"
