"""Engines: what runs the tasks of an agent. ``base`` is the contract; each other module is one kind, found by entry point
``compute_agent.engines``; ``worker`` is the one function that runs where the task runs."""
