"""``python -m fem_deepest`` is the ``fem-deepest`` command."""

from fem_deepest.cli.main import main

if __name__ == "__main__":
    main()
