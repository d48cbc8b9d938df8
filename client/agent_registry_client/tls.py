"""What to trust with https, and as whom to come: files that the environment names."""

import os
import ssl
from collections.abc import Mapping

CA_FILE = "AGENT_REGISTRY_CA_FILE"
CERT_FILE = "AGENT_REGISTRY_CERT_FILE"
KEY_FILE = "AGENT_REGISTRY_KEY_FILE"


def context_of(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext | None:
    """Return what the variables ask for; None when none of them is set.

    With a CA file, it alone is trusted, in place of what the system trusts.

    Raises:
        ValueError: a file is none, or they do not belong together.
    """
    ca_file, cert_file, key_file = (
        environ.get(name) or None for name in (CA_FILE, CERT_FILE, KEY_FILE)
    )
    if key_file and not cert_file:
        raise ValueError(f"{KEY_FILE} is of no use without {CERT_FILE}")
    if not (ca_file or cert_file):
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # also what the file holds: it is an `ssl.SSLError`
        raise ValueError(f"{CA_FILE}: {ca_file}: {_said(error)}") from None
    if cert_file:
        try:
            # No password: nobody is there to be asked for one.
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            raise ValueError(f"{CERT_FILE}: {cert_file}: {_said(error)}") from None
    return context


def _said(error: OSError) -> str:
    return error.strerror or str(error)
