"""Raw shop logs in, one ranked list of items per user out: see README.md for the flow."""

__version__ = "0.1.0"

import os

# A thread of PyTorch's that waits for another spins by default, and where the cores are shared with Spark, or with other
# programs, keeps from them the very one it waits for: training was 30 times slower. OpenMP reads this once, when loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
