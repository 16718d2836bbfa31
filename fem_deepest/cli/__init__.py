"""The ``fem-deepest`` command, one file a verb; every verb is also a function."""
