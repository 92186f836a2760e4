"""Who is in a channel, asked of all processes when somebody wants to know, and acts on clients wherever they are."""
