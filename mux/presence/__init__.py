"""The clients of a channel, asked of all processes when somebody wants to know, and acts on clients of any process."""
