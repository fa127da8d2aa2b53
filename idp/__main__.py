"""The `idp` command; also `python -m idp`."""

from idp.cli.main import main

if __name__ == "__main__":
    main()
