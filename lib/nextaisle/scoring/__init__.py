"""Items for every user: the exact best K, what is left out, and what users without a history get.

top_k(state_BD, vector_ID, k, excluded, tie_key_I)       the exact best K of every user: topk.py, plain NumPy and torch
score_users(settings, sequences, sessions, items, day)   rows of the table recommendations: recommendations.py
"""
