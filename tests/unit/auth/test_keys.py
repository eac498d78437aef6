from __future__ import annotations

import stat
from pathlib import Path

import jwt
import pytest

from compute_agent.private_files import create_private_file, read_private_file, replace_private_file
from flows_engine.auth.keys import Keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    first = Keys.open(tmp_path / "data")
    second = Keys.open(tmp_path / "data")

    assert first.pepper == second.pepper
    assert first.jwk() == second.jwk()
    assert {mode(file) for file in (tmp_path / "data" / "keys").iterdir()} == {0o600}
    assert [mode(tmp_path / "data"), mode(tmp_path / "data" / "keys")] == [0o700, 0o700]


def test_key_file_that_others_may_read_is_refused(data_dir: Path) -> None:
    (data_dir / "keys" / "pepper").chmod(0o640)
    with pytest.raises(PermissionError, match=r"mode 0640.*chmod 600"):
        Keys.open(data_dir)


def test_key_file_behind_a_symbolic_link_is_refused(data_dir: Path) -> None:
    pepper = data_dir / "keys" / "pepper"
    pepper.rename(data_dir / "elsewhere")
    pepper.symlink_to(data_dir / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Keys.open(data_dir)


def test_short_pepper_is_refused(data_dir: Path) -> None:
    replace_private_file(data_dir / "keys" / "pepper", b"short")
    with pytest.raises(ValueError, match="at least 32"):
        Keys.open(data_dir)


def test_the_second_to_create_a_file_loses(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert create_private_file(path, b"first")
    assert not create_private_file(path, b"second")
    assert read_private_file(path) == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_digest_depends_on_the_pepper_and_the_secret(data_dir: Path) -> None:
    keys = Keys.open(data_dir)
    other = Keys(b"x" * 32, keys.signing_key)
    assert keys.matches("secret", keys.digest("secret"))
    assert not keys.matches("Secret", keys.digest("secret"))
    assert not other.matches("secret", keys.digest("secret"))


def test_signature_verifies_with_the_published_key_alone(data_dir: Path) -> None:
    keys = Keys.open(data_dir)
    token = keys.sign({"aud": "me", "sub": "you"})
    published = jwt.PyJWK(keys.jwk()).key

    assert jwt.decode(token, published, algorithms=["RS512"], audience="me")["sub"] == "you"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token[:-8] + "AAAAAAAA", published, algorithms=["RS512"], audience="me")


def test_keys_do_not_show_themselves(data_dir: Path) -> None:
    assert repr(Keys.open(data_dir)) == "Keys()"
