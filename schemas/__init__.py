"""The words of the house: typed wire documents, principals, times, errors and ports.

The leaf room. Everything may import it; it imports nothing of ours and does no I/O.
"""
