"""What can be seen of a process: plain numbers, collected when somebody asks."""
