"""Judges models and baselines on days, or events, that none of them has seen."""
