"""Measurements behind docs/performance.md. Each is a function that prints what it saw and returns figures."""
