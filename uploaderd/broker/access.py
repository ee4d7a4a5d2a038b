"""The way to the broker: connection parameters, TLS, and each failure in a sentence."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pika
from pika import exceptions as pe

from uploaderd.config.settings import BrokerSettings, TlsSettings
from uploaderd.errors import BrokerError, ConfigError

CONNECT_TIMEOUT_S = 10.0
_VALIDITY = re.compile(rb"(?:\x17\x0d\d{12}|\x18\x0f\d{14})Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")

# pika reports each broken connection several times over, as errors with tracebacks; `explain` makes
# one sentence of it, and whoever calls decides where that goes.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class AccessRefused(BrokerError):
    """The broker is there, and does not let us: user, password, virtual host, certificate."""

    code = "access_refused"


def parameters(
    settings: BrokerSettings, host: str, port: int, *, name: str = "uploaderd"
) -> pika.ConnectionParameters:
    """pika's parameters for one of the hosts; ConfigError if a TLS file is not usable."""
    context = tls_context(settings.tls) if settings.tls else None
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=settings.virtual_host,
        credentials=pika.PlainCredentials(settings.user, settings.password.reveal()),
        heartbeat=settings.heartbeat_s,
        connection_attempts=1,
        socket_timeout=CONNECT_TIMEOUT_S,
        stack_timeout=2 * CONNECT_TIMEOUT_S,
        blocked_connection_timeout=None,
        ssl_options=pika.SSLOptions(context, host) if context else None,
        client_properties={"connection_name": name},
    )


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """The TLS context for the given files; ConfigError names the file that is wrong, and how."""
    for what, path in (("CA", tls.ca_file), ("certificate", tls.certificate), ("key", tls.key)):
        if path is not None:
            _check_readable(what, path)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError:
        raise ConfigError(f"The CA file {tls.ca_file} holds no certificate in PEM.") from None
    if tls.certificate is None:
        if tls.key is not None:
            raise ConfigError(f"TLS has the key {tls.key}, but no certificate that goes with it.")
        return context
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"The key {tls.key} does not belong to the certificate {tls.certificate}."
        else:
            text = f"The certificate {tls.certificate} with the key {tls.key} is no usable PEM pair"
            text += f" ({error.reason or 'unreadable'})."
        raise ConfigError(text) from None
    except ValueError as error:
        raise ConfigError(f"The key {tls.key} cannot be used: {error}") from None
    return context


def _no_passphrase() -> str:
    raise ValueError("it is encrypted, and a daemon has nobody to ask for the passphrase.")


def _check_readable(what: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except FileNotFoundError:
        raise ConfigError(f"The {what} file for TLS does not exist: {path}.") from None
    except OSError as error:
        raise ConfigError(
            f"The {what} file for TLS cannot be read: {path}: {error.strerror}."
        ) from (None)


def explain(error: BaseException, settings: BrokerSettings, host: str, port: int) -> BrokerError:
    """What went wrong with a connection, as a sentence with the way out."""
    chain = list(_causes(error))
    place = f"{host}:{port}"
    return (
        _explain_tls(chain, settings, place)
        or _explain_refusal(chain, settings, place)
        or _explain_network(chain, settings, place)
        or BrokerError(f"The connection to the broker at {place} failed: {chain[-1]!r}.")
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: pika nests the cause in different attributes."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            inner = (getattr(item, "exception", None), getattr(item, "exceptions", None))
            waiting.extend((*inner, item.args, item.__cause__))


def _explain_tls(
    chain: list[BaseException], settings: BrokerSettings, place: str
) -> BrokerError | None:
    tls = settings.tls
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code == 10:
                return BrokerError(f"The certificate of the broker at {place} has expired.")
            if error.verify_code in (62, 64):
                return BrokerError(
                    f"The certificate of the broker at {place} is for another host name.",
                    hint="Use the name in the certificate as host.",
                )
            return BrokerError(
                f"The certificate of the broker at {place} is not signed by a trusted authority"
                f" ({error.verify_message}).",
                hint=f"The CA file in use is {tls.ca_file if tls else None}.",
            )
        if isinstance(error, ssl.SSLError):
            reason = error.reason or str(error)
            if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
                return BrokerError(
                    f"The port {place} does not speak TLS.", hint="Leave tls out, or use 5671."
                )
            if "ALERT" in reason or "CERTIFICATE_REQUIRED" in reason:
                own = tls.certificate if tls else None
                ended = f" It has expired on {date}." if own and (date := _expired(own)) else ""
                return BrokerError(
                    f"The broker at {place} refuses our certificate ({reason.lower()}).",
                    hint=f"The certificate in use is {own}.{ended}" if own else "It asks for one.",
                )
            return BrokerError(f"TLS with the broker at {place} failed: {reason}.")
    return None


def _expired(certificate: Path) -> str:
    """The day on which a certificate in PEM has expired; empty if it has not, or is not known.

    In a certificate's DER only the validity is two times side by side (RFC 5280, 4.1.2.5): UTCTime
    (tag 23, 13 bytes) until 2049, and GeneralizedTime (tag 24, 15 bytes) from 2050 on.
    """
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return ""
    ends = _VALIDITY.search(der)
    if ends is None:
        return ""
    text = ends[1].decode() if len(ends[1]) == 14 else f"20{ends[1].decode()}"
    over = text < time.strftime("%Y%m%d%H%M%S", time.gmtime())
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if over else ""


def _explain_refusal(
    chain: list[BaseException], settings: BrokerSettings, place: str
) -> BrokerError | None:
    who = f"the user {settings.user!r}"
    for error in chain:
        if isinstance(error, (pe.ProbableAuthenticationError, pe.AuthenticationError)):
            return AccessRefused(f"The broker at {place} refuses {who}: wrong name or password.")
        if isinstance(error, pe.ProbableAccessDeniedError) or (
            isinstance(error, pe.ConnectionClosed) and error.reply_code in (402, 530)
        ):
            return AccessRefused(
                f"The broker at {place} has no virtual host {settings.virtual_host!r} that {who} "
                "may use.",
                hint="Mend rabbitmq.vhost, or make it: rabbitmqctl add_vhost, set_permissions -p.",
            )
        if isinstance(error, pe.IncompatibleProtocolError):
            if settings.tls is None:
                hint = "Is it the port for TLS? Then give the section tls."
            elif settings.tls.certificate is None:
                hint = (
                    "A broker that asks for a client certificate does this to a client with none."
                )
            elif ended := _expired(settings.tls.certificate):
                hint = f"Our certificate {settings.tls.certificate} has expired on {ended}."
            else:
                hint = "It may not accept our client certificate."
            return AccessRefused(f"The broker at {place} ended the talk at once.", hint=hint)
        if isinstance(error, (pe.ConnectionClosed, pe.ChannelClosed)) and error.reply_code == 403:
            return AccessRefused(f"The broker at {place} does not allow it: {error.reply_text}.")
        if isinstance(error, (pe.ConnectionClosed, pe.ChannelClosed)):
            return BrokerError(
                f"The broker at {place} said {error.reply_code}: {error.reply_text}."
            )
    return None


def _explain_network(
    chain: list[BaseException], settings: BrokerSettings, place: str
) -> BrokerError | None:
    for error in chain:
        if isinstance(error, socket.gaierror):
            return BrokerError(f"The name of the broker {place} is not known.")
        if isinstance(error, ConnectionRefusedError):
            return BrokerError(f"Nobody listens at {place}: the broker does not run there.")
        if isinstance(error, pe.AMQPHeartbeatTimeout):
            return BrokerError(
                f"The broker at {place} was silent for too long "
                f"(heartbeat {settings.heartbeat_s} s)."
            )
        if isinstance(error, (TimeoutError, pe.AMQPConnectionError)) and "imeout" in repr(error):
            return BrokerError(f"The broker at {place} does not answer.")
        if isinstance(error, ConnectionError):
            return BrokerError(f"The connection to the broker at {place} broke: {error}.")
        if isinstance(error, OSError):
            return BrokerError(f"The broker at {place} cannot be reached: {error}.")
    for error in chain:
        if isinstance(error, pe.StreamLostError):
            return BrokerError(f"The connection to the broker at {place} broke.")
    return None
