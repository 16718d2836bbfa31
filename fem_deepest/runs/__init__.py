"""What the verbs solve, and what they return: configurations made real."""
