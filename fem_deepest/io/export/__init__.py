"""A trained field as an ordinary network of some depth and width, in files that others can read."""
