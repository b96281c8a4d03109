# How spark-submit.sh runs Spark's own and what it makes of the end. Sourced by it; uses its variables.
#
# Standard output is one line, the outcome. It comes by a file, since Spark loses a driver's output and exit code in
# cluster mode, and in client mode mixes the driver's standard error, where logs go, into standard output.

is_cluster_mode() { # $@: Spark's options as the caller gave them; true by option or by properties file
  local options=" $* " file=/dev/null
  [[ $options == *" --deploy-mode client "* ]] && return 1
  [[ $options =~ " --properties-file"[\ =]([^ ]+) ]] && file=${BASH_REMATCH[1]}
  [[ $options =~ " --deploy-mode"[\ =]"cluster " || $options == *" spark.submit.deployMode=cluster "* ]] \
    || grep -qsE '^[[:space:]]*spark\.submit\.deployMode[[:space:]=:]+cluster' "$file"
}

ship_configuration() { # the driver finds base.toml and the overlays by name in its working folder
  [[ $outcome == *://* ]] || refuse "in cluster mode Spark loses the exit code; say where the driver leaves it: --outcome hdfs:///tmp/$job.json"
  options+=(--files "$(IFS=,; echo "$NEXTAISLE_HOME/conf/base.toml,${overlays[*]}")")
}

keep_to_this_folder() { # $@: Spark's options as the caller gave them; those of a properties file of his own come first
  [[ " $* " == *" --properties-file"* ]] || options+=(--conf "spark.sql.warehouse.dir=$NEXTAISLE_HOME/var/warehouse")
  [[ -t 2 ]] || options+=(--conf spark.ui.showConsoleProgress=false) # a bar in a log file is noise
}

hadoop_fs() { # the cluster's own command where there is one, else the Hadoop that Spark brings
  type -P hadoop > /dev/null && { hadoop fs "$@"; return; }
  # Its shell asks for a configuration file, if only an empty one.
  local empty=$NEXTAISLE_HOME/var/hadoop
  mkdir -p "$empty" && echo "<configuration/>" > "$empty/core-site.xml"
  HADOOP_CONF_DIR=${HADOOP_CONF_DIR:-$empty} "$SPARK_HOME/bin/spark-class" org.apache.hadoop.fs.FsShell "$@" 2> >(grep -v incubator >&2)
}

forget_outcome() { # what an earlier run left at $1 must not be taken for this one's
  if [[ $1 == *://* ]]; then hadoop_fs -rm -f "$1" >&2; else rm -f "$1"; fi || refuse "$1 cannot be written from here"
}

read_outcome() {
  if [[ $1 == *://* ]]; then hadoop_fs -cat "$1"; elif [[ -f $1 ]]; then cat "$1"; fi
}

# Spark runs in a process group of its own: whatever ends the launcher ends the JVM, the driver and what they started.
end_all() {
  kill -TERM -- "-$child"
  for _ in {1..150}; do kill -0 -- "-$child" || return 0; sleep 0.1; done
  kill -KILL -- "-$child"
} 2> /dev/null

run_to_its_end() { # sets code to the exit code
  # Spark gives the driver a pipe for standard error; a progress bar wants the terminal.
  if [[ -t 2 ]]; then NEXTAISLE_TERMINAL=$(tty <&2) && export NEXTAISLE_TERMINAL; fi
  trap 'end_all; exit 130' INT
  trap 'end_all; exit 143' TERM HUP
  code=0
  setsid "$@" >&2 &
  child=$!
  wait "$child" || code=$?
  end_all || true
}

exit_as_outcome() { # $1: where it is; prints it as the job would have
  local line
  line=$(read_outcome "$1") || true
  if [[ $line =~ \"exit_code\":\ ([0-9]+) ]]; then
    echo "$line"
    exit "${BASH_REMATCH[1]}"
  fi
  echo "spark-submit.sh: $job ended with $code and left no outcome" >&2
  # 2 is a wrong call; the rest is whatever broke before the job could say more.
  [[ $code -eq 2 ]] || code=10
  exit "$code"
}
