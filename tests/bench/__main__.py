"""Measure landing: ``python -m bench.landing --help`` says how."""

from bench.landing import main

if __name__ == "__main__":
    main()
