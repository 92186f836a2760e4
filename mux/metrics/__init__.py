"""The numbers of a process, collected when Prometheus or an operator asks."""
