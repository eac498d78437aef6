"""Files on this machine: collections, who may use them, and the Transfer family of action providers.

A collection is a local directory. Nothing here reaches a file other than through ``tree.Tree``, which cannot leave the
directory and asks the collection's access rules about every real place it touches. Rules of the room: a file appears
under its name whole and verified or not at all; every operation may be repeated; every refusal names the path.
"""

from __future__ import annotations

from ..provider import ActionProvider
from .collections import Collections
from .delete import Delete
from .listing import ListDirectory, Stat
from .operations import CollectionInfo, MakeDirectory
from .permissions import ManagePermission
from .transfer import Transfer

__all__ = ["Collections", "providers"]


def providers(collections: Collections) -> list[ActionProvider]:
    """The built-in Transfer providers on these collections."""
    return [
        Transfer(collections),
        Delete(collections),
        ListDirectory(collections),
        Stat(collections),
        MakeDirectory(collections),
        CollectionInfo(collections),
        ManagePermission(collections),
    ]
