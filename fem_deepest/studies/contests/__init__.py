"""Contests from TOML: problems on which methods are compared."""
