"""The action of many paths at once, in the state form; observations and normalisations."""
