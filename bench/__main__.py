"""python -m bench."""

if __name__ == "__main__":
    # Not above: every process of the load generator imports this module anew.
    from bench.cli import main

    main()
