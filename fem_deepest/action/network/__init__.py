"""The action of a network on samples, in the forcing and in the state form."""
