"""What an operator may ask of the fleet: the numbers of every process, and its first channels."""
