"""Whom to trust, and who we are: one TLS context for all connections."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from .answers import BrokenError

if TYPE_CHECKING:
    from ..settings.table import Settings


class Trust:
    """The context in use. It is made anew where gevent or eventlet has put classes in the place of Python's since.

    A socket of theirs does not go through a context of Python's.

    Raises:
        BrokenError: at construction, when a certificate or a key can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kind = ssl.SSLContext
        self._context = tls_context(settings)

    def context(self) -> ssl.SSLContext:
        """Returns it; raises like the constructor."""
        if (kind := ssl.SSLContext) is not self._kind:
            self._context = tls_context(self._settings)
            self._kind = kind
        return self._context


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Returns the context for connections to the platform.

    Raises:
        BrokenError: when a certificate or a key can't be used.
    """
    if not settings.base_url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, and made in no time
    variable = "VERSORI_FLOW_CERTIFICATE"
    try:
        if settings.certificate is None:
            variable = "SSL_CERT_FILE"  # which httpx reads
            context = httpx.create_ssl_context()
            context.load_default_certs()  # the system's own, next to those that come with httpx
        else:
            context = ssl.create_default_context(cafile=settings.certificate)
        variable = "VERSORI_FLOW_CLIENT_CERTIFICATE (with VERSORI_FLOW_CLIENT_KEY)"
        if settings.client_certificate is not None:
            # A password is never asked for: OpenSSL would do so on the terminal.
            context.load_cert_chain(settings.client_certificate, settings.client_key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        message = f"{variable} can't be used: not a readable PEM file ({reason})"
        raise BrokenError("setting", message) from None
    return context
