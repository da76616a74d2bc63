"""The ``simway`` command: the platform from a terminal, over its REST API alone."""
