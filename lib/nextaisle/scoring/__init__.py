"""Items for every user: the exact best K, what is left out, and what users without a history get."""
