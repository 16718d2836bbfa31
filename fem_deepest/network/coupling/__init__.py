"""Couplings of the neurons: which linear map ``x -> z`` of the states the parameters stand for."""
