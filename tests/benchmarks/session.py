"""Spark for benchmarks: two cores, and the sizes that users get from conf/spark-defaults.conf."""

from collections.abc import Mapping

from pyspark.sql import SparkSession

from nextaisle import config
from nextaisle.spark import create_session


def local_session(name: str, sizes: Mapping[str, str]) -> SparkSession:
    lines = (config.home() / "conf" / "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    defaults = dict(line.split(None, 1) for line in lines if line.startswith("spark."))
    options = defaults | {"spark.ui.showConsoleProgress": "false"} | dict(sizes)
    session = create_session(name, options.pop("spark.master").replace("*", "2"), options)
    session.sparkContext.setLogLevel("ERROR")
    return session
