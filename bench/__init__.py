"""The cost of mux, each figure beside a baseline taken in the same run."""
