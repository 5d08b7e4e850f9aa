"""Finds out why a broker does not let us in: kafka-python tries for a while and then only says that it could not.

Asks one broker step by step, as a client would: does anybody listen, is its certificate to be believed, does it want
ours, does it take the name and the password. Each answer names the setting that mends it.
"""

import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, Final

from adapters.kafka.client import client
from domain.relaying import BrokerAway

SECONDS: Final = 3.0
_HANDSHAKE, _API_VERSIONS, _AUTHENTICATE = 17, 18, 36
_UNSUPPORTED_MECHANISM, _ILLEGAL_STATE = 33, 34


class KafkaRefused(BrokerAway):
    """The broker answers and does not let us in: a setting is wrong, here or there."""

    code = "kafka_refused"


def reason(options: Mapping[str, Any]) -> BrokerAway:
    """What keeps the client with these options from its brokers."""
    found: BrokerAway | None = None
    for server in options["bootstrap_servers"]:
        try:
            _ask(server, options)
        except KafkaRefused as refused:
            return refused
        except (OSError, struct.error) as error:
            said = getattr(error, "strerror", None) or str(error)
            found = found or BrokerAway(
                f"Kafka is away: nobody answers at {server} ({said.lower()}); see that its brokers run and that "
                f"TOYBOX_KAFKA names them"
            )
    return found or BrokerAway(
        "Kafka is away: its brokers can be reached and do not answer a client in time; see that they are well, and "
        "that the addresses they advertise can be reached from here"
    )


def _ask(server: str, options: Mapping[str, Any]) -> None:
    host, _, port = server.rpartition(":")
    protocol = str(options["security_protocol"])
    with socket.create_connection((host.strip("[]"), int(port)), SECONDS) as plain:
        if not protocol.endswith("SSL"):
            _speak(plain, server, options)
            return
        try:
            context = ssl.create_default_context(cafile=options.get("ssl_cafile"))
            if certificate := options.get("ssl_certfile"):
                context.load_cert_chain(certificate, options["ssl_keyfile"])
        except ssl.SSLError as error:
            files = "TOYBOX_KAFKA_CA_FILE, TOYBOX_KAFKA_CERT_FILE or TOYBOX_KAFKA_KEY_FILE"
            raise KafkaRefused(f"a file of {files} does not hold what it should, as PEM ({error.reason})") from error
        try:
            with context.wrap_socket(plain, server_hostname=host.strip("[]")) as secured:
                _speak(secured, server, options)
        except ssl.SSLCertVerificationError as error:
            raise KafkaRefused(
                f"the certificate of {server} is not to be believed ({error.verify_message}): name the PEM file of "
                f"the authority that signed it in TOYBOX_KAFKA_CA_FILE, and the host as it does in TOYBOX_KAFKA",
                code="kafka_untrusted",
            ) from error
        except ssl.SSLError as error:
            if "alert" in str(error).lower() and "CERTIFICATE" in str(error).upper():
                raise KafkaRefused(
                    f"{server} asks for a certificate that it believes: set TOYBOX_KAFKA_CERT_FILE and "
                    f"TOYBOX_KAFKA_KEY_FILE"
                ) from error
            raise _another_language(server, protocol) from error


def _speak(connection: socket.socket, server: str, options: Mapping[str, Any]) -> None:
    protocol = str(options["security_protocol"])
    try:
        if protocol.startswith("SASL"):
            _log_in(connection, server, options)
        else:
            _exchange(connection, _API_VERSIONS, 0, b"")
    except (ConnectionError, EOFError) as error:
        raise _another_language(server, protocol) from error


def _another_language(server: str, protocol: str) -> KafkaRefused:
    return KafkaRefused(
        f"{server} hangs up on a client that speaks {protocol.lower()}: correct TOYBOX_KAFKA_SECURITY, or the port in "
        f"TOYBOX_KAFKA (a broker that starts or stops may do so for a moment)"
    )


def _log_in(connection: socket.socket, server: str, options: Mapping[str, Any]) -> None:
    mechanism = str(options["sasl_mechanism"])
    answer = _exchange(connection, _HANDSHAKE, 1, _text(mechanism))
    code = struct.unpack_from(">h", answer)[0]
    if code == _ILLEGAL_STATE:
        raise KafkaRefused(
            f"at {server} nobody has to log in, and TOYBOX_KAFKA_SECURITY is {options['security_protocol'].lower()}: "
            f"correct it, or the port in TOYBOX_KAFKA"
        )
    if code == _UNSUPPORTED_MECHANISM:
        raise KafkaRefused(
            f"{server} does not take {mechanism}, but {', '.join(_texts(answer[2:]))}: correct "
            f"TOYBOX_KAFKA_SASL_MECHANISM"
        )
    login = client("kafka.net.sasl").get_sasl_mechanism(mechanism)(host=server.rpartition(":")[0], **options)
    while not login.is_done():
        token = login.auth_bytes()
        answer = _exchange(connection, _AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        code, size = struct.unpack_from(">hh", answer)
        if code:
            raise KafkaRefused(
                f"{server} does not take this name or this password ({mechanism}): correct TOYBOX_KAFKA_USERNAME and "
                f"TOYBOX_KAFKA_PASSWORD",
                code="kafka_login_refused",
            )
        login.receive(answer[4 + max(0, size) + 4 :])


def _exchange(connection: socket.socket, key: int, version: int, body: bytes) -> bytes:
    """One request of Kafka's protocol, and the answer without its header."""
    request = struct.pack(">hhi", key, version, 1) + _text("toybox-probe") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, size)[4:]


def _receive(connection: socket.socket, size: int) -> bytes:
    if not 0 < size < 1_000_000:
        raise EOFError("this is not Kafka's protocol")
    received = b""
    while len(received) < size:
        if not (more := connection.recv(size - len(received))):
            raise EOFError("the broker hung up")
        received += more
    return received


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def _texts(array: bytes) -> list[str]:
    (count,), at, found = struct.unpack_from(">i", array), 4, list[str]()
    for _ in range(count):
        (size,) = struct.unpack_from(">h", array, at)
        found.append(array[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return found
