"""The settings of a process. The process reads the settings once, from its environment variables, when it starts.

Settings are not configuration. Operators change the configuration while the service runs (see `configuration/`).
"""

import base64
import difflib
import ipaddress
import itertools
import json
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

import phonenumbers
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from curhat.kit.identity import AnyRole
from curhat.kit.server_urls import RISKS, check_database_url, check_valkey_url, database_risks, valkey_risks

Environment = Literal["production", "development"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]

PREFIX: Final = "CURHAT_"
# CURHAT_SECRET_KEY_FILE names a file that contains the value of CURHAT_SECRET_KEY. Every secret has a variable with the
# suffix _FILE, not only the secret key.
FILE_SUFFIX: Final = "_FILE"
MIN_SECRET_KEY_BYTES: Final = 32
VAPID_KEY_BYTES: Final = 32
MIN_TOKEN_CHARACTERS: Final = 20
MAX_SECRET_FILE_BYTES: Final = 64 * 1024
# A private key of the curve P-256 is a number from 1 to _P256_ORDER - 1.
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# The names of the senders that deliver one-time codes to real phones. The adapters of these senders are in `accounts/`.
# Do not add `inbox`, because the inbox shows the codes to everyone.
REAL_CODE_SENDERS: Final = frozenset({"whatsapp", "sms"})
# `file:PATH` writes the codes to a file, for rehearsals of production.
FILE_SENDER: Final = "file:"
# The settings that each sender needs.
SENDER_SETTINGS: Final = {
    "whatsapp": {
        "WHATSAPP_PHONE_NUMBER_ID": "the id of the sending phone number, a number such as 106540352242922",
        "WHATSAPP_ACCESS_TOKEN": "the access token of a system user with the permission whatsapp_business_messaging",
        "WHATSAPP_TEMPLATE": "the name of an approved template of the category authentication, with a copy-code button",
    },
    "sms": {
        "TWILIO_ACCOUNT_SID": "the account's SID, which begins with AC",
        "TWILIO_AUTH_TOKEN": "the account's auth token",
        "TWILIO_FROM": "the sender: a messaging service (MG…), a phone number (+62…) or a sender name such as CURHAT",
    },
}

# The names of the payment gateways. `build_gateway` (app/wiring.py) constructs the gateways.
GATEWAYS: Final[tuple[str, ...]] = ("mock",)
# The two ports differ, so that a server and a worker can run on one machine with the same settings.
DEFAULT_OPERATIONS_PORTS: Final[Mapping[str, int]] = {"server": 9000, "worker": 9001}

# Maps the name of each setting with one client's origins to the client's folder.
ROLE_ORIGINS: Final[Mapping[str, str]] = {
    "CUSTOMER_ORIGINS": "app",
    "MITRA_ORIGINS": "mitra",
    "CONTROL_CENTER_ORIGINS": "control-center",
}

DEFAULT_PHONE_REGIONS: Final[tuple[str, ...]] = ("ID",)
DEFAULT_CODES_PER_DAY: Final = 10_000

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=str)


class Problem(NamedTuple):
    """A wrong setting: its name without the prefix, and a sentence with the name, the fault, and a valid value."""

    name: str
    sentence: str


class SettingsError(ValueError):
    """Some settings are wrong. `problems` has one line per wrong setting: the name, the fault, and a valid value."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("wrong settings:\n" + "\n".join(f"  {problem}" for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process. The variable of a field is `CURHAT_`, followed by the field's name in capitals.

    A field with `repr=False` is a secret. The variable `…_FILE` can name a file that contains the secret.
    """

    environment: Environment
    host: str
    port: int
    # The port of /livez, /readyz, /status and /metrics. None means the default, see `operations_port_of`.
    operations_host: str
    operations_port: int | None
    # How long a stopping server answers `/livez` with 503 before the server closes anything. A proxy needs
    # `drain_notice_seconds` to notice the 503.
    drain_notice_seconds: int
    data_dir: Path
    # None means an embedded server. Only development has embedded servers.
    database_url: str | None = field(repr=False)
    # Production has two roles (`kit/roles.py`). The owner's URL is for `curhat migrate`, and the administrator's URL
    # for `curhat roles`. A server or worker must not have the owner's URL or the administrator's URL.
    owner_database_url: str | None = field(repr=False)
    admin_database_url: str | None = field(repr=False)
    valkey_url: str | None = field(repr=False)
    # The names in RISKS that the owner of this installation accepts.
    allow_insecure: tuple[str, ...]
    secret_key: bytes = field(repr=False)
    # This private key identifies us to push services (RFC 8292). Browsers subscribe with the matching public key. If
    # the private key changes, all existing subscriptions stop working.
    vapid_private_key: bytes = field(repr=False)
    # The key file (JSON) of the Google service account that pushes to the native apps. Empty: no native apps.
    fcm_service_account: str = field(repr=False)
    # The origins of the web clients, without path or trailing slash.
    public_origins: tuple[str, ...]
    # Each of these settings has the origins of one client. The server accepts the cookies and sockets of a role only
    # from the role's own origins. An empty setting means all of `public_origins`, as in development, where one host
    # serves all clients.
    customer_origins: tuple[str, ...]
    mitra_origins: tuple[str, ...]
    control_center_origins: tuple[str, ...]
    # The file outside the database to which a worker writes each erasure (P.5). None: no erasure is ever finished. In
    # development, the default is a file in the data directory.
    erasure_list: Path | None
    # IP addresses and networks of the proxies in front of the server. The server trusts X-Forwarded-For only from these
    # proxies. All clients behind a proxy that is not in `trusted_proxies` share the rate limits of the proxy's address.
    trusted_proxies: tuple[str, ...]
    # The payment gateway. `mock` moves no money. Production must name its gateway explicitly.
    gateway: str
    # The database of the mock gateway's records. None means the database in `database_url`. If the mock gateway has a
    # database of its own, a restore of the service's database does not change the mock gateway's records.
    mock_gateway_database_url: str | None = field(repr=False)
    # This token proves that a web hook comes from the gateway. If the token is None, the server refuses every web hook.
    gateway_webhook_token: str | None = field(repr=False)
    # The senders of one-time codes, in the order in which they are tried.
    code_senders: tuple[str, ...]
    # Allows `file:PATH` as a sender of one-time codes in production. A person who can read the file can sign in as
    # anyone.
    allow_file_codes: bool
    # The countries (ISO 3166-1) whose phone numbers can sign in. A code to a foreign country can cost many times as
    # much as a code to Indonesia.
    phone_regions: tuple[str, ...]
    # The address at which people reach the team, as a URL that a web page can open. None: the pages show no address.
    help_contact: str | None
    # How many codes the service makes per day, for each country of `phone_regions`.
    codes_per_day: Mapping[str, int]
    # The sender and the authentication template of the WhatsApp Cloud API.
    whatsapp_phone_number_id: str
    whatsapp_access_token: str = field(repr=False)
    whatsapp_template: str
    whatsapp_template_language: str
    # The account and the sender of codes by SMS, for Twilio's Messages API.
    twilio_account_sid: str
    twilio_auth_token: str = field(repr=False)
    twilio_from: str
    # How many requests all strangers behind one network address can send together. A signed-in person can send four
    # times as many requests as all strangers behind one network address together.
    address_requests_per_minute: int
    address_codes_per_hour: int
    address_password_tries_per_hour: int
    # A refund above `refund_approval_limit_rp` needs the approval of a second operator.
    refund_approval_limit_rp: int
    database_pool_size: int
    log_level: LogLevel
    log_format: LogFormat

    @property
    def is_development(self) -> bool:
        """Whether this process has the development features: extra endpoints, the inbox, embedded servers."""
        return self.environment == "development"

    @property
    def is_mocked_in_production(self) -> bool:
        """Whether this is production and payments move no money, so that operators must see a warning."""
        return self.gateway == "mock" and not self.is_development

    def origins_of(self, role: AnyRole) -> tuple[str, ...]:
        """Return the origins from which the server accepts this role's cookies and sockets."""
        own = {
            "customer": self.customer_origins,
            "mitra": self.mitra_origins,
            "operator": self.control_center_origins,
        }[role]
        return own or self.public_origins

    @property
    def local_url(self) -> str:
        """The URL at which this machine reaches the main port, such as http://127.0.0.1:8000."""
        return f"http://{_reachable_host(self.host)}:{self.port}"

    @property
    def health_url(self) -> str:
        """The base URL at which this machine reaches the probes and the metrics of the server."""
        port = self.operations_port_of("server")
        return self.local_url if port is None else f"http://{_reachable_host(self.operations_host)}:{port}"

    def operations_port_of(self, process: Literal["server", "worker"]) -> int | None:
        """Return the port on which this kind of process serves the probes and the metrics.

        None means that the process has no such port. In development, a server serves the probes and the metrics on its
        main port. A worker in development serves the probes and the metrics only if CURHAT_OPERATIONS_PORT is set.
        """
        if self.is_development:
            return None if process == "server" else self.operations_port
        return self.operations_port or DEFAULT_OPERATIONS_PORTS[process]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], needs: Collection[str] | None = None) -> Self:
        """Read and check all settings. A command that uses only some settings names them in `needs`.

        With `needs`, the other settings can be missing or wrong, and the caller must not use them.
        Raises SettingsError, which names every wrong setting.
        """
        settings, problems = cls.read(environ)
        if needs is not None:
            used = {*needs, *(name + FILE_SUFFIX for name in needs), "ENVIRONMENT"}
            known = {item.name.upper() for item in fields(cls)}
            unused = {*known, *(name + FILE_SUFFIX for name in known)} - used
            # Perhaps a setting is missing because the name of its variable is misspelt.
            problems = [problem for problem in problems if problem.name not in unused]
            if not any(problem.name in used for problem in problems):
                problems = []
        if problems:
            raise SettingsError([problem.sentence for problem in problems])
        return settings

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> tuple[Self, list[Problem]]:
        """Read and check all settings. Return the settings with their problems.

        A setting with a problem has its default value, or an empty value.
        In development, CURHAT_SECRET_KEY and CURHAT_VAPID_PRIVATE_KEY can be missing. If a key is missing, this
        function reads the key from the data directory. If the data directory has no keys yet, this function writes new
        keys there.
        """
        secret_names = [item.name.upper() for item in fields(cls) if not item.repr]
        reader = _Reader(environ, secret_names)
        environment: Environment = reader.choice("ENVIRONMENT", ("production", "development"), "production")
        development = environment == "development"
        port = reader.integer("PORT", 8000, 1, 65_535)
        data_dir = reader.value("DATA_DIR", data_dir_of, default_data_dir())
        phone_regions = reader.value("PHONE_REGIONS", _phone_regions, DEFAULT_PHONE_REGIONS)
        schemes = ("http", "https") if development else ("https",)
        no_origins: tuple[str, ...] = ()
        role_origins = [
            reader.value(name, partial(_origins, schemes=schemes), no_origins) for name in ROLE_ORIGINS
        ]
        default_origins = (
            (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
            if development
            else tuple(dict.fromkeys(itertools.chain(*role_origins)))
        )
        settings = cls(
            environment=environment,
            host=reader.value(
                "HOST",
                _loopback_host if development else _host,
                "127.0.0.1" if development else "0.0.0.0",  # noqa: S104  other machines must reach a production server
            ),
            port=port,
            operations_host=reader.value("OPERATIONS_HOST", _host, "127.0.0.1"),
            operations_port=reader.optional_integer("OPERATIONS_PORT", 1, 65_535),
            drain_notice_seconds=reader.integer("DRAIN_NOTICE_SECONDS", 0 if development else 5, 0, 300),
            data_dir=data_dir,
            database_url=reader.value("DATABASE_URL", check_database_url, None),
            owner_database_url=reader.value("OWNER_DATABASE_URL", check_database_url, None),
            admin_database_url=reader.value("ADMIN_DATABASE_URL", check_database_url, None),
            valkey_url=reader.value("VALKEY_URL", check_valkey_url, None),
            allow_insecure=reader.value("ALLOW_INSECURE", _risks, ()),
            secret_key=reader.secret_key(data_dir if development else None),
            vapid_private_key=reader.vapid_private_key(data_dir if development else None),
            fcm_service_account=reader.fcm_service_account(),
            public_origins=reader.value(
                "PUBLIC_ORIGINS", partial(_origins, schemes=schemes), default_origins
            ),
            customer_origins=role_origins[0],
            mitra_origins=role_origins[1],
            control_center_origins=role_origins[2],
            erasure_list=reader.value(
                "ERASURE_LIST", data_dir_of, data_dir / "erasures.jsonl" if development else None
            ),
            trusted_proxies=reader.value("TRUSTED_PROXIES", _networks, ("127.0.0.1",)),
            gateway=reader.choice("GATEWAY", GATEWAYS, "mock"),
            mock_gateway_database_url=reader.value("MOCK_GATEWAY_DATABASE_URL", check_database_url, None),
            gateway_webhook_token=reader.value("GATEWAY_WEBHOOK_TOKEN", _token, None),
            code_senders=reader.code_senders(development=development),
            allow_file_codes=reader.choice("ALLOW_FILE_CODES", ("0", "1"), "0") == "1",
            phone_regions=phone_regions,
            help_contact=reader.value("HELP_CONTACT", _help_url, None),
            codes_per_day=reader.value(
                "CODES_PER_DAY",
                partial(_codes_per_day, regions=phone_regions),
                dict.fromkeys(phone_regions, 1_000_000 if development else DEFAULT_CODES_PER_DAY),
            ),
            whatsapp_phone_number_id=reader.value("WHATSAPP_PHONE_NUMBER_ID", _whatsapp_phone_number_id, ""),
            whatsapp_access_token=reader.secret("WHATSAPP_ACCESS_TOKEN"),
            whatsapp_template=reader.value("WHATSAPP_TEMPLATE", _whatsapp_template, ""),
            whatsapp_template_language=reader.value("WHATSAPP_TEMPLATE_LANGUAGE", _template_language, "id"),
            twilio_account_sid=reader.value("TWILIO_ACCOUNT_SID", _twilio_account_sid, ""),
            twilio_auth_token=reader.secret("TWILIO_AUTH_TOKEN"),
            twilio_from=reader.value("TWILIO_FROM", _twilio_from, ""),
            address_requests_per_minute=reader.integer(
                "ADDRESS_REQUESTS_PER_MINUTE", 1_000_000 if development else 300, 1
            ),
            address_codes_per_hour=reader.integer(
                "ADDRESS_CODES_PER_HOUR", 100_000 if development else 100, 1
            ),
            address_password_tries_per_hour=reader.integer(
                "ADDRESS_PASSWORD_TRIES_PER_HOUR", 100_000 if development else 100, 1
            ),
            refund_approval_limit_rp=reader.integer("REFUND_APPROVAL_LIMIT_RP", 50_000, 0),
            database_pool_size=reader.integer("DATABASE_POOL_SIZE", 10, 2, 500),
            log_level=reader.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), "info"),
            log_format=reader.choice("LOG_FORMAT", ("json", "console"), "console" if development else "json"),
        )
        reader.check_together(settings)
        reader.check_names(
            [item.name.upper() for item in fields(cls)] + [name + FILE_SUFFIX for name in secret_names]
        )
        return settings, reader.problems


def default_data_dir() -> Path:
    """Return the folder `.data` of the checkout that contains this code.

    If this code is not in a checkout, return `.data` of the current folder.
    """
    checkout = Path(__file__).parents[3]
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / ".data"


def data_dir_of(text: str) -> Path:
    """Return the absolute path for a value of CURHAT_DATA_DIR. A relative value starts at the current folder."""
    return Path(text).expanduser().absolute()


def development_secret_key(data_dir: Path) -> bytes:
    """Return the key in the file `data_dir/secret_key`. If the file is missing, create it with a new key.

    Only the file's owner can read the file. Raises OSError if the file cannot be read or written.
    """
    return _kept_in(data_dir, "secret_key", secrets.token_hex(MIN_SECRET_KEY_BYTES)).encode()


def development_vapid_private_key(data_dir: Path) -> bytes:
    """Return the key in the file `data_dir/vapid_private_key`. If the file is missing, create it with a new key.

    Raises OSError if the file cannot be read or written. Raises ValueError if the file contains no valid key.
    """
    new_key = base64.b64encode(secrets.token_bytes(VAPID_KEY_BYTES)).decode()
    return _vapid_private_key(_kept_in(data_dir, "vapid_private_key", new_key))


def _kept_in(data_dir: Path, name: str, new_text: str) -> str:
    """Return the text of the file `name`. If the file is missing, create it with `new_text`.

    Only the file's owner can read the file.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / name
    if not path.exists():
        # Write a temporary file (mode 0600), then link it to `path`. If two processes create the file at the same time,
        # one link succeeds, and both processes read the same complete key.
        with tempfile.NamedTemporaryFile("w", dir=data_dir) as file:
            file.write(new_text)
            file.flush()
            with suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text()


class _Reader:
    """Reads the variables one by one and collects their faults, so that one error reports all faults.

    An empty variable counts as not set, because a compose or unit file sets a variable to "" to leave it out.
    """

    def __init__(self, environ: Mapping[str, str], secret_names: Iterable[str]) -> None:
        self._environ = {name: text for name, text in environ.items() if name.startswith(PREFIX) and text}
        self.problems: list[Problem] = []
        # The secrets whose file could not be read. For a secret with an unreadable file, only the problem of the file
        # is reported.
        self._unread: set[str] = set()
        for name in secret_names:
            path = self._environ.pop(PREFIX + name + FILE_SUFFIX, None)
            if path is not None:
                self._read_file(name, path)

    def _read_file(self, name: str, path: str) -> None:
        """Use the text of a file as the value of the secret `name`. A line break at the end of the file is ignored."""
        if PREFIX + name in self._environ:
            self.problem(name + FILE_SUFFIX, f"is set though {PREFIX}{name} is; right is one of the two")
            return
        try:
            self._environ[PREFIX + name] = _text_of_file(path)
        except ValueError as error:
            self.problem(
                name + FILE_SUFFIX,
                f"is {path!r}, which cannot be used ({error}); right is a file that this process can read "
                "and that contains nothing but the secret",
            )
            self._unread.add(name)

    def value(self, name: str, read: Callable[[str], Value], default: Value) -> Value:
        """Read one variable with `read`. Return `default` if the variable is not set or its value is wrong.

        For a wrong text, `read` raises a ValueError whose message describes a valid value.
        """
        text = self._environ.get(PREFIX + name)
        if text is None:
            return default
        try:
            return read(text.strip())
        except ValueError as error:
            self.problem(name, f"is {_shown(name, text)}; {error}")
            return default

    def integer(self, name: str, default: int, minimum: int, maximum: int = 1_000_000_000) -> int:
        """Read a whole number from `minimum` to `maximum`."""
        return self.value(name, partial(_whole_number, minimum=minimum, maximum=maximum), default)

    def optional_integer(self, name: str, minimum: int, maximum: int) -> int | None:
        """Read a whole number from `minimum` to `maximum`. Return None if the variable is not set."""
        return self.value(name, partial(_whole_number, minimum=minimum, maximum=maximum), None)

    def choice(self, name: str, choices: tuple[Choice, ...], default: Choice) -> Choice:
        """Read one of the words in `choices`."""

        def read(text: str) -> Choice:
            if text not in choices:
                raise ValueError(f"right is {' or '.join(choices)}")
            return choices[choices.index(text)]

        return self.value(name, read, default)

    def secret_key(self, data_dir: Path | None) -> bytes:
        """Read the key that hashes one-time codes and cookies. `data_dir` is None in production."""
        text = self._environ.get(f"{PREFIX}SECRET_KEY")
        if text is None:
            right = "right is the output of: openssl rand -hex 32"
            return self._development_key("SECRET_KEY", right, development_secret_key, data_dir)
        key = text.encode()
        if len(key) < MIN_SECRET_KEY_BYTES:
            self.problem(
                "SECRET_KEY",
                f"is {len(key)} bytes long; right is at least {MIN_SECRET_KEY_BYTES} random bytes, "
                "such as the output of: openssl rand -hex 32",
            )
        return key

    def vapid_private_key(self, data_dir: Path | None) -> bytes:
        """Read the private key that identifies us to push services. `data_dir` is None in production."""
        text = self._environ.get(f"{PREFIX}VAPID_PRIVATE_KEY")
        right = "right is 32 random bytes in base64, such as the output of: openssl rand -base64 32"
        if text is None:
            return self._development_key("VAPID_PRIVATE_KEY", right, development_vapid_private_key, data_dir)
        try:
            return _vapid_private_key(text)
        except ValueError:
            self.problem("VAPID_PRIVATE_KEY", f"is not shown here; {right}")
            return b""

    def _development_key(
        self, name: str, right: str, read: Callable[[Path], bytes], data_dir: Path | None
    ) -> bytes:
        """Return the key that `read` finds in the data directory. In production, report that the key is not set."""
        if data_dir is None:
            self.problem(name, f"is not set; {right}")
            return b""
        try:
            return read(data_dir)
        except OSError as error:
            fault = f"nothing can be kept ({error.strerror}); right is a folder that you may write"
        except ValueError:
            fault = (
                "the file vapid_private_key holds no key; right is to remove that file, "
                "and a new key is made: who subscribed to push does so again"
            )
        self.problem("DATA_DIR", f"is {str(data_dir)!r}, where {fault}")
        return b""

    def secret(self, name: str) -> str:
        """Read a secret of printable characters, without spaces. Return "" if the secret is not set or wrong."""
        text = self._environ.get(PREFIX + name, "").strip()
        if text and not (text.isascii() and text.isprintable() and " " not in text):
            self.problem(name, "is not shown here; right is one line of plain characters without spaces")
            return ""
        return text

    def fcm_service_account(self) -> str:
        """Read the key file of a Google service account, and check that the key can sign."""
        text = self._environ.get(f"{PREFIX}FCM_SERVICE_ACCOUNT", "").strip()
        if text and not _can_sign_for_fcm(text):
            self.problem(
                "FCM_SERVICE_ACCOUNT",
                "is not shown here; right is the JSON of a service account's key file, as the Firebase console "
                "downloads it (project_id, client_email, private_key, …)",
            )
            return ""
        return text

    def code_senders(self, *, development: bool) -> tuple[str, ...]:
        """Read the names of the senders of one-time codes, in the order in which they are tried."""
        text = self._environ.get(f"{PREFIX}CODE_SENDERS", "inbox" if development else "")
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        known = ", ".join(sorted(REAL_CODE_SENDERS))
        right = f"right is inbox, or real senders in the order in which they are tried ({known})"
        if not development:
            right = (
                f"production needs senders that reach real phones, in the order in which they are tried ({known}); "
                "inbox is for development only, since it shows the codes to whoever asks"
            )
        if not names:
            self.problem("CODE_SENDERS", f"is not set; {right}")
        elif len(set(names)) < len(names):
            self.problem("CODE_SENDERS", f"is {text!r}, which names a sender twice; {right}")
        elif not all(self._is_sender(name, development=development) for name in names):
            self.problem("CODE_SENDERS", f"is {text!r}; {right}")
        return names

    def _is_sender(self, name: str, *, development: bool) -> bool:
        if name.startswith(FILE_SENDER):
            return Path(name.removeprefix(FILE_SENDER)).is_absolute()
        return name in REAL_CODE_SENDERS or (development and name == "inbox")

    def _check_senders(self, settings: Settings) -> None:
        """Report the settings that the senders of one-time codes lack."""
        for sender in settings.code_senders:
            for name, right in SENDER_SETTINGS.get(sender, {}).items():
                if PREFIX + name not in self._environ:
                    self.problem(
                        name, f"is not set, and the sender {sender!r} of codes needs it; right is {right}"
                    )
            if sender.startswith(FILE_SENDER) and not (settings.is_development or settings.allow_file_codes):
                self.problem(
                    "CODE_SENDERS",
                    f"is {','.join(settings.code_senders)!r}: whoever can read the file signs in as anyone; right is a "
                    f"real sender, or in a rehearsal of production {PREFIX}ALLOW_FILE_CODES=1",
                )

    def check_together(self, settings: Settings) -> None:
        """Report wrong combinations of settings, even if each setting of a combination is valid by itself."""
        examples = {
            "DATABASE_URL": "postgresql://user:password@host/curhat",
            "VALKEY_URL": "valkey://host:6379/0",
        }
        self._check_senders(settings)
        missing = [name for name in examples if PREFIX + name not in self._environ]
        if settings.is_development:
            if len(missing) == 1:
                (other,) = examples.keys() - set(missing)
                self.problem(
                    missing[0], f"is not set though {PREFIX}{other} is; right is both, or neither (embedded)"
                )
            return
        for name, url, find_risks in (
            ("DATABASE_URL", settings.database_url, database_risks),
            ("OWNER_DATABASE_URL", settings.owner_database_url, database_risks),
            ("ADMIN_DATABASE_URL", settings.admin_database_url, database_risks),
            ("MOCK_GATEWAY_DATABASE_URL", settings.mock_gateway_database_url, database_risks),
            ("VALKEY_URL", settings.valkey_url, valkey_risks),
        ):
            for risk in find_risks(url) if url is not None else []:
                if risk not in settings.allow_insecure:
                    self.problem(
                        name, f"{RISKS[risk]}; to accept this, put {risk} into {PREFIX}ALLOW_INSECURE"
                    )
        for name in missing:
            self.problem(name, f"is not set; production embeds no servers; right is such as {examples[name]}")
        if f"{PREFIX}PUBLIC_ORIGINS" not in self._environ:
            self._check_role_origins()
        if f"{PREFIX}GATEWAY" not in self._environ:
            self.problem(
                "GATEWAY",
                "is not set; right is mock, with which no payment moves money: "
                "production says so at its start, in curhat doctor and in the Control Center",
            )
        if settings.operations_port_of("server") == settings.port:
            self.problem(
                "OPERATIONS_PORT", f"is {settings.port}, as {PREFIX}PORT; right is another port, kept private"
            )

    def _check_role_origins(self) -> None:
        """Report the clients that have no origin."""
        for name, client in ROLE_ORIGINS.items():
            if PREFIX + name not in self._environ:
                self.problem(
                    name,
                    f"is not set; right is the origin of /{client}/, such as https://{client}.example.id; "
                    f"if one host serves all clients, set {PREFIX}PUBLIC_ORIGINS instead of three settings",
                )

    def check_names(self, known: Iterable[str]) -> None:
        """Report variables that begin with CURHAT_ but are not settings, for example misspelt names."""
        names = [PREFIX + name for name in known]
        for name in sorted(self._environ.keys() - set(names)):
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(names)}"
            self.problem(name.removeprefix(PREFIX), f"is not a setting; {hint}")

    def problem(self, name: str, sentence: str) -> None:
        if name in self._unread:
            return
        problem = Problem(name, f"{PREFIX}{name} {sentence}")
        if problem not in self.problems:
            self.problems.append(problem)


def _text_of_file(path: str) -> str:
    """Return the text of a file of a secret, without line breaks at its end.

    Raises ValueError with the reason if the file cannot be read, is empty or is too large.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET_FILE_BYTES + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(error.strerror) from None
    except UnicodeDecodeError:
        raise ValueError("it contains no UTF-8 text") from None
    if len(content) > MAX_SECRET_FILE_BYTES:
        raise ValueError("it is too large")
    if not text:
        raise ValueError("it is empty")
    return text


def _whole_number(text: str, *, minimum: int, maximum: int) -> int:
    if not (text.isascii() and text.isdigit() and minimum <= int(text) <= maximum):
        raise ValueError(f"right is a whole number from {minimum} to {maximum}")
    return int(text)


def _shown(name: str, text: str) -> str:
    # A URL can contain a password.
    return "not shown here" if name.endswith(("_URL", "_TOKEN")) else repr(text)


def _vapid_private_key(text: str) -> bytes:
    """Decode a key from base64 or base64url, with or without padding. Raises ValueError."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    if len(key) != VAPID_KEY_BYTES or not 0 < int.from_bytes(key) < _P256_ORDER:
        raise ValueError("no private key of the curve P-256")
    return key


def _help_url(text: str) -> str:
    """Return the URL of a mail address, or of a chat on WhatsApp."""
    if re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", text, re.ASCII):
        return f"mailto:{text}"
    if re.fullmatch(r"https://wa\.me/[0-9]{8,15}", text):
        return text
    raise ValueError(
        "right is a mail address such as tim@example.com, or https://wa.me/ and a number such as 62812…"
    )


def _token(text: str) -> str:
    if len(text) < MIN_TOKEN_CHARACTERS or not text.isascii():
        raise ValueError(f"right are at least {MIN_TOKEN_CHARACTERS} ASCII characters that nobody can guess")
    return text


def _reachable_host(host: str) -> str:
    if host in ("0.0.0.0", ""):  # noqa: S104  compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _host(text: str) -> str:
    if text == "localhost":
        return text
    with suppress(ValueError):
        return str(ipaddress.ip_address(text))
    raise ValueError("right is an address of this machine, such as 0.0.0.0, or localhost")


def _loopback_host(text: str) -> str:
    if text == "localhost":
        return text
    with suppress(ValueError):
        if ipaddress.ip_address(text).is_loopback:
            return text
    raise ValueError(
        "development listens on this machine only, since it shows one-time codes; "
        "right is 127.0.0.1, ::1 or localhost"
    )


def _url(text: str) -> SplitResult:
    """Split a URL. If the text is no URL, all parts are empty."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # Raises ValueError when the port is no number.
    except ValueError:
        return urlsplit("")
    return parts


def _origins(text: str, *, schemes: tuple[str, ...]) -> tuple[str, ...]:
    right = f"right are origins with commas between, such as {schemes[0]}://app.example.id, nothing after it"
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    if not origins:
        raise ValueError(right)
    for origin in origins:
        parts = _url(origin)
        if parts.scheme not in schemes or not parts.hostname or f"{parts.scheme}://{parts.netloc}" != origin:
            raise ValueError(f"{origin!r} is no origin; {right}")
        if "@" in parts.netloc or "*" in parts.netloc:
            raise ValueError(f"{origin!r} names no single place; {right}")
    return origins


def _risks(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not RISKS.keys() >= set(names):
        raise ValueError(f"right are some of {', '.join(RISKS)}, with commas between")
    return names


def _networks(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    try:
        for name in names:
            ipaddress.ip_network(name)
    except ValueError:
        raise ValueError(
            "right are addresses or networks with commas between, such as 10.0.0.5,10.1.0.0/16"
        ) from None
    return names


def _phone_regions(text: str) -> tuple[str, ...]:
    regions = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not regions or not phonenumbers.SUPPORTED_REGIONS.issuperset(regions):
        raise ValueError("right are codes of countries with commas between, such as ID,SG,MY")
    return regions


def _codes_per_day(text: str, regions: tuple[str, ...]) -> Mapping[str, int]:
    """Read one number for every country, or one number per country such as ID:5000,SG:200."""
    example = ",".join(f"{region}:5000" for region in regions)
    right = f"right is a whole number above 0, or one per country of {PREFIX}PHONE_REGIONS, such as {example}"
    parts = [part.strip().upper() for part in text.split(",")]
    per_region = dict(part.split(":", 1) for part in parts if ":" in part) or dict.fromkeys(regions, text)
    numbers = [number.strip() for number in per_region.values()]
    if not all(
        number.isascii() and number.isdigit() and 0 < int(number) <= 1_000_000_000 for number in numbers
    ):
        raise ValueError(right)
    if set(per_region) != set(regions):
        raise ValueError(right)
    return dict(zip(per_region, map(int, numbers), strict=True))


def _matching(text: str, pattern: str, right: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"right is {right}")
    return text


def _whatsapp_phone_number_id(text: str) -> str:
    return _matching(text, "[0-9]{5,30}", SENDER_SETTINGS["whatsapp"]["WHATSAPP_PHONE_NUMBER_ID"])


def _whatsapp_template(text: str) -> str:
    return _matching(text, "[a-z0-9_]{1,512}", SENDER_SETTINGS["whatsapp"]["WHATSAPP_TEMPLATE"])


def _template_language(text: str) -> str:
    return _matching(text, "[a-z]{2,3}(_[A-Z]{2})?", "a language of the template, such as id or en_US")


def _twilio_account_sid(text: str) -> str:
    return _matching(text, "AC[0-9a-f]{32}", SENDER_SETTINGS["sms"]["TWILIO_ACCOUNT_SID"])


def _twilio_from(text: str) -> str:
    sender = r"MG[0-9a-f]{32}|\+[1-9][0-9]{6,14}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}"
    return _matching(text, sender, SENDER_SETTINGS["sms"]["TWILIO_FROM"])


def _can_sign_for_fcm(text: str) -> bool:
    try:
        account = json.loads(text)
        names = (account["project_id"], account["client_email"])
        key = load_pem_private_key(account["private_key"].encode(), None)
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return False
    # The project's id becomes a part of a URL.
    is_named = all(isinstance(name, str) and re.fullmatch("[A-Za-z0-9.:@_-]{1,200}", name) for name in names)
    return is_named and isinstance(key, RSAPrivateKey)
