"""The two keys of an installation, each in a file only its owner may read: the pepper and the signing key.

The pepper keys every digest of a token or client secret, so that a stolen database alone opens nothing. The RSA key
signs ID tokens; there is exactly one, because official clients verify with the first key of the published set.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from compute_agent.private_files import create_private_file, private_directory, read_private_file

#: The one algorithm of our ID tokens (RFC 7518, section 3.3).
SIGNING_ALGORITHM = "RS512"

_PEPPER_BYTES = 32
_RSA_BITS = 3072


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys, in memory. Their ``repr`` shows neither."""

    pepper: bytes = field(repr=False)
    signing_key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Keys:
        """New keys that live in memory alone."""
        return cls(secrets.token_bytes(_PEPPER_BYTES), _new_rsa_key())

    @classmethod
    def open(cls, data_dir: Path) -> Keys:
        """Keys of ``<data_dir>/keys/``, made at the first start.

        Raises:
            PermissionError: when a key file may be read by others than its owner.
        """
        folder = data_dir / "keys"
        private_directory(data_dir)
        private_directory(folder)
        pepper = _load_or_create(folder / "pepper", lambda: secrets.token_bytes(_PEPPER_BYTES))
        if len(pepper) < _PEPPER_BYTES:
            raise ValueError(f"{folder / 'pepper'} holds {len(pepper)} bytes; at least {_PEPPER_BYTES} are expected")
        pem = _load_or_create(folder / "id_token_signing_key.pem", lambda: _to_pem(_new_rsa_key()))
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{folder / 'id_token_signing_key.pem'} is not an RSA private key")
        return cls(pepper, key)

    def digest(self, secret: str) -> str:
        """What is stored in place of a token or client secret: HMAC-SHA256 under the pepper, as hexadecimal text."""
        return hmac.new(self.pepper, secret.encode(), hashlib.sha256).hexdigest()

    def matches(self, secret: str, digest: str) -> bool:
        """Whether ``digest`` was made from ``secret``; takes the same time either way."""
        return hmac.compare_digest(self.digest(secret), digest)

    def fingerprint(self) -> str:
        """Tells one pepper from another without giving it away; kept in the database."""
        return self.digest("flows-engine pepper check")[:32]

    def jwk(self) -> dict[str, str]:
        """The public half of the signing key as a JSON Web Key."""
        numbers = self.signing_key.public_key().public_numbers()
        key = {"e": _b64_number(numbers.e), "kty": "RSA", "n": _b64_number(numbers.n)}
        # RFC 7638: the thumbprint is taken over the required members in lexical order, without spaces.
        thumbprint = hashlib.sha256(json.dumps(key, separators=(",", ":")).encode()).digest()
        return {**key, "kid": _b64(thumbprint), "alg": SIGNING_ALGORITHM, "use": "sig"}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JSON Web Token over the claims."""
        header = {"alg": SIGNING_ALGORITHM, "kid": self.jwk()["kid"], "typ": "JWT"}
        signed = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{signed}.{_b64(self.signing_key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA512()))}"


def access_token_hash(token: str) -> str:
    """The ``at_hash`` claim: left half of the hash that belongs to the algorithm (OpenID Connect Core, 3.1.3.6)."""
    return _b64(hashlib.sha512(token.encode()).digest()[:32])


def _load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    content = read_private_file(path)
    if content is None:
        create_private_file(path, make())
        content = read_private_file(path)
    if content is None:
        raise FileNotFoundError(f"{path} was removed while it was being set up")
    return content


def _new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def _to_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _b64_number(number: int) -> str:
    return _b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))
