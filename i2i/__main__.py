"""`python -m i2i` is `i2i`."""

from i2i.cli import main

if __name__ == "__main__":  # worker processes import this module under another name
    main()
