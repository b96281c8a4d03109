# Cluster mode, where the driver runs on the cluster and Spark brings back neither its exit code nor its standard output.
# Sourced by spark-submit.sh; uses its variables outcome, overlays, options.

is_cluster_mode() { # $@: Spark's options as the caller gave them; true by option or by properties file
  local options=" $* " file=/dev/null
  [[ $options == *" --deploy-mode client "* ]] && return 1
  [[ $options =~ " --properties-file"[\ =]([^ ]+) ]] && file=${BASH_REMATCH[1]}
  [[ $options =~ " --deploy-mode"[\ =]"cluster " || $options == *" spark.submit.deployMode=cluster "* ]] \
    || grep -qsE '^[[:space:]]*spark\.submit\.deployMode[[:space:]=:]+cluster' "$file"
}

ship_configuration() { # the driver finds base.toml and the overlays by name in its working folder
  local files
  [[ $outcome == *://* ]] || refuse "cluster mode needs --outcome URI, where the driver leaves its outcome and exit code: --outcome hdfs:///tmp/$job.json"
  files=$(IFS=,; echo "$NEXTAISLE_HOME/conf/base.toml,${overlays[*]}")
  options+=(--files "$files")
  # What an earlier run left there must not be taken for this one's.
  [[ -n $is_dry_run ]] || hadoop_fs -rm -f "$outcome" >&2 || refuse "$outcome cannot be written from here"
}

hadoop_fs() { # the cluster's own command where there is one, else the Hadoop that Spark brings
  if type -P hadoop > /dev/null; then hadoop fs "$@"; else "$SPARK_HOME/bin/spark-class" org.apache.hadoop.fs.FsShell "$@"; fi
}

exit_as_outcome() { # $1: the outcome's URI; prints the outcome as the job would have
  local line
  line=$(hadoop_fs -cat "$1") || { echo "spark-submit.sh: the job left no outcome at $1" >&2; exit 10; }
  echo "$line"
  [[ $line =~ \"exit_code\":\ ([0-9]+) ]] || exit 10
  exit "${BASH_REMATCH[1]}"
}
