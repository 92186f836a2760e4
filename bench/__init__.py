"""What mux costs, each figure beside a baseline taken in the same run."""
