"""python -m mux."""

from mux.cli import main

if __name__ == "__main__":
    main()
