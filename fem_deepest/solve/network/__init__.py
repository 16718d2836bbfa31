"""Networks with model error: Levenberg-Marquardt with the states eliminated sample by sample."""
