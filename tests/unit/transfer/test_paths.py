"""Paths of the wire, and the walk that cannot leave a collection."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from action_providers.transfer.faults import Kind, TransferError
from action_providers.transfer.paths import parse, show
from action_providers.transfer.tree import Tree


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/", ()),
        ("", ()),
        ("~", ()),
        ("/~/", ()),
        ("/a/b", ("a", "b")),
        ("a/b/", ("a", "b")),
        ("//a///./b/.", ("a", "b")),
        ("/~/a", ("a",)),
        ("~/a", ("a",)),
        ("/a/~", ("a", "~")),
        ("/~alice/x", ("~alice", "x")),
        ("/...", ("...",)),
        ("/..a/b..", ("..a", "b..")),
        ("/日本語/x y\n", ("日本語", "x y\n")),
        ("/" + "é" * 127, ("é" * 127,)),
        ("\\..\\x", ("\\..\\x",)),
    ],
)
def test_a_path_is_taken_apart(text: str, parts: tuple[str, ...]):
    assert parse(text) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("..", "'..'"),
        ("/../etc/passwd", "'..'"),
        ("/a/../../b", "'..'"),
        ("a/..", "'..'"),
        ("~/../x", "'..'"),
        ("/a\n/../b", "'..'"),
        ("/a\0b", "NUL"),
        ("/" + "x" * 5000, "4096"),
        ("/" + "é" * 2048 + "/", "4096"),
        ("/" + "x" * 256, "255"),
        ("/" + "é" * 128, "255"),
        ("/\ud800", "surrogate"),
    ],
)
def test_a_path_that_is_no_path_is_refused_by_name(text: str, words: str):
    with pytest.raises(TransferError) as caught:
        parse(text)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert words in caught.value.description
    assert repr(text)[1:3] in caught.value.description
    assert len(caught.value.description) < 400
    caught.value.description.encode()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with links of every kind, and a secret beside it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    (tmp_path / "root-and-more").mkdir()
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("file")
    for name, target in {
        "up": "..",
        "up-far": "../../../../../../../..",
        "absolute": "/etc",
        "neighbour": "../secret",
        "prefix": f"{tmp_path}/root-and-more",
        "a/out": "../../secret/key",
        "a/sneaky": "b/../../../secret",
        "chain": "chain2",
        "chain2": "neighbour",
        "loop": "loop",
        "loop-a": "loop-b",
        "loop-b": "loop-a",
        "in": "a/b",
        "in-absolute": f"{root}/a/b",
        "in-dots": "a/b/../b/./",
        "in-up-and-back": "a/../a/b",
        "through-link": "in/../b",
        "to-root": f"{root}",
        "dot": ".",
        "dangling": "a/none",
    }.items():
        (root / name).symlink_to(target)
    return root


def tree(root: Path) -> Tree:
    return Tree(os.path.realpath(root), lambda parts, need: None)


def read(root: Path, path: str) -> str:
    with tree(root) as open_tree, open_tree.place(parse(path), "r") as (directory, name):
        fd = directory.open_file(name)
        with os.fdopen(fd) as file:
            return file.read()


@pytest.mark.parametrize(
    "path",
    [
        "/a/b/file",
        "/in/file",
        "/in-absolute/file",
        "/in-dots/file",
        "/in-up-and-back/file",
        "/through-link/file",
        "/to-root/in/file",
        "/dot/dot/a/b/file",
        "/to-root/to-root/to-root/a/b/file",
    ],
)
def test_links_that_stay_inside_are_followed(root: Path, path: str):
    assert read(root, path) == "file"


@pytest.mark.parametrize(
    "path",
    [
        "/up/secret/key",
        "/up",
        "/up-far/etc/passwd",
        "/absolute/passwd",
        "/absolute",
        "/neighbour/key",
        "/prefix",
        "/a/out",
        "/a/sneaky/key",
        "/chain/key",
        "/loop",
        "/loop/x",
        "/loop-a/x",
    ],
)
def test_links_that_lead_out_or_in_circles_are_not_followed(root: Path, path: str):
    with pytest.raises(TransferError) as caught:
        read(root, path)
    assert caught.value.kind is Kind.ESCAPES
    assert show(parse(path)) in caught.value.description


def test_forty_links_are_followed_and_one_more_is_not(root: Path):
    (root / "l0").symlink_to("a/b/file")
    for number in range(1, 41):
        (root / f"l{number}").symlink_to(f"l{number - 1}")
    assert read(root, "/l39") == "file"
    with pytest.raises(TransferError, match="40 symbolic links"):
        read(root, "/l40")


def test_a_missing_end_of_a_link_is_missing(root: Path):
    with tree(root) as open_tree:
        assert open_tree.find(("dangling",), "r") is None
        assert open_tree.find(("a", "none", "deeper"), "r") is None
        entry = open_tree.find(("dangling",), "r", follow=False)
        assert entry is not None
        assert entry.is_link


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_special_files_are_not_opened(root: Path, kind: str):
    path = root / "special"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(root)  # the name of a socket is short
        try:
            listener.bind("special")
        finally:
            os.chdir(here)
            listener.close()
    else:
        try:
            os.mknod(path, 0o20600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices")
    with pytest.raises(TransferError) as caught:
        read(root, "/special")
    assert caught.value.kind is Kind.SPECIAL
    assert "/special" in caught.value.description


def test_a_directory_swapped_for_a_link_while_it_is_used_does_not_let_out(root: Path, tmp_path: Path):
    """Between check and use: the open directory is the one that was checked."""
    with tree(root) as open_tree, open_tree.directory(("a", "b"), "rw") as directory:
        (root / "a/b").rename(root / "a/was-b")
        (root / "a/b").symlink_to(tmp_path / "secret")
        os.close(directory.create_file("new"))
        assert directory.find("key") is None
    assert (root / "a/was-b/new").exists()
    assert not (tmp_path / "secret/new").exists()


def test_a_file_swapped_for_a_link_is_not_opened(root: Path, tmp_path: Path):
    with tree(root) as open_tree, open_tree.place(("a", "b", "file"), "r") as (directory, name):
        (root / "a/b/file").unlink()
        (root / "a/b/file").symlink_to(tmp_path / "secret/key")
        with pytest.raises(TransferError):
            directory.open_file(name)


def test_a_race_of_renames_never_lets_a_reader_out(root: Path, tmp_path: Path):
    """One thread swaps a directory and a link out as fast as it can; the other reads through the name."""
    (root / "swap").mkdir()
    (root / "swap/key").write_text("inside")
    (root / "link").symlink_to(tmp_path / "secret")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (root / "swap").rename(root / "aside")
            (root / "link").rename(root / "swap")
            (root / "swap").rename(root / "link")
            (root / "aside").rename(root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[str] = set()
    try:
        for _ in range(2000):
            try:
                seen.add(read(root, "/swap/key"))
            except TransferError:
                seen.add("refused")
    finally:
        done.set()
        thread.join()
    assert "secret" not in seen
    assert "inside" in seen


def test_removing_a_tree_removes_links_and_not_what_they_lead_to(root: Path, tmp_path: Path):
    (root / "doomed/deep").mkdir(parents=True)
    (root / "doomed/out").symlink_to(tmp_path / "secret")
    (root / "doomed/deep/in").symlink_to(root / "a")
    with tree(root) as open_tree:
        removed = list(open_tree.remove(("doomed",)))
    assert len(removed) == 4
    assert not (root / "doomed").exists()
    assert (tmp_path / "secret/key").read_text() == "secret"
    assert (root / "a/b/file").exists()


def test_a_tree_deeper_than_descriptors_and_recursion_allow_is_removed(root: Path):
    fd = os.open(root, os.O_RDONLY)
    os.mkdir("deep", dir_fd=fd)
    for _ in range(1100):
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        os.mkdir("deep", dir_fd=fd)
    os.close(fd)
    with tree(root) as open_tree:
        assert sum(1 for _ in open_tree.remove(("deep",))) == 1101
    assert not (root / "deep").exists()


def test_no_descriptor_is_left_open(root: Path):
    before = os.listdir("/proc/self/fd")
    for path in ["/a/b/file", "/up/x", "/loop", "/none/x", "/a/b", "/in/file", "/through-link/file"]:
        with tree(root) as open_tree:
            try:
                with open_tree.directory(parse(path), "r"):
                    pass
            except TransferError:
                pass
            list(open_tree.remove(("a", "gone")))
            open_tree.find(("a",), "r")
    assert len(os.listdir("/proc/self/fd")) == len(before)
