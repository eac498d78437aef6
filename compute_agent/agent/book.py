"""What the agent decides: pure functions over what it holds. No I/O, no clock."""
