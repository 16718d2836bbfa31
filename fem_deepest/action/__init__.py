"""The action: its protocol, and actions in UFL, of a network, of one path and of many paths."""
