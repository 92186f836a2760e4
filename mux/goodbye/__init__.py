"""How clients are sent away, and when each is told."""
