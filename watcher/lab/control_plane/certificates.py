"""A certificate authority that lives as long as one lab, and the serving certificates that it signs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Authority:
    """What the lab's clients trust; its own key is nowhere but in this process."""

    _authority: trustme.CA

    @classmethod
    def make(cls) -> Authority:
        return cls(trustme.CA(organization_name="watcher lab"))

    @property
    def ca_pem(self) -> str:
        return self._authority.cert_pem.bytes().decode()

    def issue(self, names: Sequence[str], certificate: Path, key: Path) -> None:
        """Writes two PEM files: a chain for ``names`` (DNS names, IP addresses) and its key, for its owner alone."""
        issued = self._authority.issue_cert(*names, common_name="kube-apiserver")
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        # Private from its first moment on, whatever the umask is.
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(issued.private_key_pem.bytes())
