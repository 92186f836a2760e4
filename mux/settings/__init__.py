"""Every setting: the table of them, the checks of their values, and the environment."""
