"""The certificates of a connection to a server, one set for both of its protocols."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import ConfigError


class Certificates(NamedTuple):
    """Files in PEM format.

    Args:
        ca: the certificates of the authorities that are trusted; None for those of `SSL_CERT_FILE`, or the usual ones.
        cert: the client's own certificate; None where the server asks for none.
        key: the key of `cert`; None where it is in the same file.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def rest_options(self) -> dict[str, Any]:
        """Return the options of the REST client; none where nothing is given.

        Raises:
            ConfigError: a file is missing, or is none of certificates.
        """
        trusted = self._trusted()
        if trusted is None and self.cert is None:
            return {}
        try:
            context = ssl.create_default_context(cafile=None if trusted is None else str(trusted))
            if self.cert is not None:
                context.load_cert_chain(str(self.cert), None if self.key is None else str(self.key))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{self._named()}: {error}. They must be PEM files that can be read.") from error
        return {"verify": context}

    def grpc_options(self) -> dict[str, bytes]:
        """Return the options of the gRPC client: the same files, by gRPC's names. Raises as `rest_options`."""
        files = {
            "root_certificates": self._trusted(),
            "certificate_chain": self.cert,
            "private_key": (self.key or self.cert) if self.cert else None,
        }
        try:
            return {name: file.read_bytes() for name, file in files.items() if file is not None}
        except OSError as error:
            raise ConfigError(f"{self._named()}: {error}. They must be PEM files that can be read.") from error

    def _trusted(self) -> Path | None:
        given = os.environ.get("SSL_CERT_FILE")
        return self.ca or (Path(given) if given else None)

    def _named(self) -> str:
        files = {"tls_ca": self._trusted(), "tls_cert": self.cert, "tls_key": self.key}
        return "Certificates " + ", ".join(f"{name} = {file}" for name, file in files.items() if file is not None)


USUAL = Certificates()
"""Those that this machine trusts, and none of its own."""
