"""The database of the flow service: the only SQL of this room.

Functions take ``tx`` (an open transaction) and never begin or commit; ``db.py`` opens transactions, ``tables.py`` is
the schema, ``migrations/`` brings a database to it.
"""
