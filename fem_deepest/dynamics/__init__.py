"""Dynamical systems ``dx/dt = F(x, w; t)`` and their transcription into discrete defects."""
