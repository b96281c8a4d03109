"""Raw shop logs in, one ranked list of items per user out: see README.md for the flow."""

__version__ = "0.1.0"

import os

from nextaisle import archives

# A waiting thread of PyTorch's spins by default. Where Spark or other programs share the cores, it keeps from them the
# very thread it waits for: training was 30 times slower. OpenMP reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

archives.read_once()
