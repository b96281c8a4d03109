"""Whether the tables hold what they promise, how far a day has drifted from the weeks before, and what is built."""
