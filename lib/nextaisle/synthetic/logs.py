"""Synthetic shoppers as the raw logs of a shop."""

from pyspark.sql import SparkSession

from nextaisle.config import Synthetic
from nextaisle.synthetic.catalogue import item_rows
from nextaisle.synthetic.dirt import log_records


def write_logs(spark: SparkSession, shoppers: Synthetic, folder: str) -> None:
    """Writes `folder`/log_date=2024-01-01/*.gz, gzipped JSON lines in order of time, and `folder`/items.parquet.

    Whatever the folder held before is gone. conf/synthetic.toml reads both. The session's time zone must be UTC.
    """
    records = log_records(spark, shoppers)
    # Each task holds all the days of its users: sorted, it has one file open at a time.
    ordered = records.sortWithinPartitions("log_date", "event_time", "event_id", "kind").select("log_date", "line")
    ordered.write.mode("overwrite").partitionBy("log_date").text(folder, compression="gzip")
    spark.createDataFrame(item_rows(shoppers)).coalesce(1).write.mode("overwrite").parquet(f"{folder}/items.parquet")
