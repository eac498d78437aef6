"""The pure room: what a flow means. No I/O, no clock, no randomness of its own, no threads.

``step`` (interpreter.py) decides everything; time enters as ``event.at``, chance derives from the run's id.
"""
