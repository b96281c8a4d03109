"""Raw shop logs in, one ranked list of items per user out: see README.md for the flow."""

__version__ = "0.1.0"
