"""Shoppers with known behaviour, so that what can be learned of them is known exactly.

write_logs(spark, settings.synthetic, "var/synthetic")   raw logs, as conf/synthetic.toml reads them
shopper_events(spark, settings.synthetic)                the same events without dirt, as the table events
ceiling(settings.synthetic, k=10)                        the best HR@k and NDCG@k that any model can reach
record_counts(spark, settings.synthetic)                 how many records of each kind the logs hold
"""

from nextaisle.synthetic.ceiling import Ceiling, ceiling
from nextaisle.synthetic.dirt import record_counts
from nextaisle.synthetic.events import shopper_events
from nextaisle.synthetic.logs import write_logs

__all__ = ["Ceiling", "ceiling", "record_counts", "shopper_events", "write_logs"]
