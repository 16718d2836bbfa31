"""The action: its protocol, the prior that is its metric, and the action of a network."""
