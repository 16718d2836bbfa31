"""Annealing of any action: ladders, searches that climb them, and the levels they end at."""
