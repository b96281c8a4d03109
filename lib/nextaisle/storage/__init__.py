"""Delta tables by day and user: pinned versions, commits, the Parquet files that Python writes, rows found in them."""
