"""Questions of an operator to the fleet: the numbers of every process, and its first channels."""
