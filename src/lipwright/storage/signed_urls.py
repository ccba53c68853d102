"""Signed URLs that expire: the holder of one may read one file until then, and no other."""

from __future__ import annotations

import base64
import hmac
import re
from hashlib import sha256
from pathlib import Path

from lipwright.storage.secrets import load_or_create_secret

SECRET_FILE = "secret"  # in the data folder
PURPOSE = b"lipwright output v1"  # separates these signatures from other uses of the secret

_QUERY = re.compile(r"expires=([1-9][0-9]{0,11})&signature=([A-Za-z0-9_-]{43})")


class Signer:
    """Signs names of stored files and verifies such signatures."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def from_data_dir(cls, data_dir: Path) -> Signer:
        """Return the signer of an installation; its secret is created on first use.

        Raises:
            PublishFailed: the secret can be neither read nor created.
        """
        return cls(load_or_create_secret(data_dir / SECRET_FILE))

    def sign(self, name: str, expires: int) -> str:
        """Return the query that grants access to *name* until *expires*, seconds since 1970."""
        return f"expires={expires}&signature={self._signature(name, expires)}"

    def verify(self, name: str, query: str, now: float) -> bool:
        """Return whether *query* grants access to *name* at *now*, seconds since 1970.

        It must have exactly the form that `sign` produces: the same order and nothing else.
        """
        match = _QUERY.fullmatch(query)
        if match is None:
            return False
        expires = int(match[1])
        return hmac.compare_digest(self._signature(name, expires), match[2]) and now < expires

    def _signature(self, name: str, expires: int) -> str:
        message = b"\n".join(
            [PURPOSE, str(expires).encode(), name.encode("utf-8", "surrogatepass")]
        )
        digest = hmac.digest(self._secret, message, sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
