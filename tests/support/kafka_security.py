"""A real Kafka that lets in only who can prove it: TLS with certificates made here, SASL with names and passwords."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.kafka_broker import KafkaBroker, free_ports

USER, PASSWORD = "toybox", "correct-horse"
HOST = "127.0.0.1"
PROPERTIES = """\
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},{listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{protocols}
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
"""
JAAS = """\
listener.name.{listener}.plain.sasl.jaas.config={plain} required user_{user}="{password}";
listener.name.{listener}.scram-sha-512.sasl.jaas.config={scram} required;
"""
LOGINS = {
    "plain": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "scram": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """Where to reach it, each way, and what to show."""

    broker: KafkaBroker
    ssl: str
    """Asks clients for a certificate."""
    sasl_plaintext: str
    sasl_ssl: str
    ca_file: Path
    foreign_ca_file: Path
    """Of an authority that did not sign the broker's certificate."""
    cert_file: Path
    key_file: Path

    @classmethod
    def start(cls, folder: Path) -> "SecuredKafka":
        """Certificates, properties, and a broker that runs."""
        folder.mkdir(parents=True)
        authority, foreign = _Authority("toybox tests"), _Authority("somebody else")
        key, certificate = authority.signed("broker")
        (folder / "broker.pem").write_bytes(key + certificate)
        key, certificate = authority.signed("toybox")
        ports: dict[str, int] = dict(zip(("SSL", "SASL_PLAINTEXT", "SASL_SSL"), free_ports(3), strict=True))
        secured = cls(
            broker=KafkaBroker(
                folder,
                extra=_properties(folder, ports),
                format_options=("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            ),
            ssl=f"{HOST}:{ports['SSL']}",
            sasl_plaintext=f"{HOST}:{ports['SASL_PLAINTEXT']}",
            sasl_ssl=f"{HOST}:{ports['SASL_SSL']}",
            ca_file=_written(folder / "ca.pem", authority.pem),
            foreign_ca_file=_written(folder / "foreign-ca.pem", foreign.pem),
            cert_file=_written(folder / "client.pem", certificate),
            key_file=_written(folder / "client.key", key),
        )
        secured.broker.start()
        return secured


def _properties(folder: Path, ports: dict[str, int]) -> str:
    logins = (
        JAAS.format(listener=each, user=USER, password=PASSWORD, **LOGINS) for each in ("sasl_ssl", "sasl_plaintext")
    )
    told = PROPERTIES.format(
        listeners=",".join(f"{name}://{HOST}:{port}" for name, port in ports.items()),
        protocols=",".join(f"{name}:{name}" for name in ports),
        folder=folder,
    )
    return told + "".join(logins)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class _Authority:
    """Signs certificates that hold for a day."""

    def __init__(self, name: str) -> None:
        self._name, self._key = _named(name), ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(
            self._name,
            self._key,
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False),
                (_usage(signs_others=True), True),
            ],
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def signed(self, name: str) -> tuple[bytes, bytes]:
        """A private key and its certificate, for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")])
        certificate = self._sign(
            _named(name), key, [(names, False), (authority, False), (_usage(signs_others=False), True)]
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical=critical)
        return made.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
