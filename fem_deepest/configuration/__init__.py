"""Configurations of the verbs: what a TOML file may say."""
