"""Test that settings are checked at start, and that the error describes the mistake in each setting."""

import base64
import dataclasses
import json
import stat
from pathlib import Path

import pytest

from curhat.kit.server_urls import RISKS
from curhat.kit.settings import (
    Settings,
    SettingsError,
    development_secret_key,
    development_vapid_private_key,
)
from tests.support.fcm import key_file

KEY = "k" * 32
VAPID_KEY = base64.b64encode(b"v" * 32).decode()


def development(**variables: str) -> Settings:
    environ = {
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_SECRET_KEY": KEY,
        "CURHAT_VAPID_PRIVATE_KEY": VAPID_KEY,
    }
    return Settings.from_environment(environ | {f"CURHAT_{name}": value for name, value in variables.items()})


def problems_of(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        development(**variables)
    return caught.value.problems


def test_development_needs_no_settings_and_listens_on_loopback_only(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {"CURHAT_ENVIRONMENT": "development", "CURHAT_DATA_DIR": str(tmp_path)}
    )
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8000, tmp_path)
    assert settings.public_origins == ("http://127.0.0.1:8000", "http://localhost:8000")
    assert (settings.database_url, settings.valkey_url) == (None, None)
    assert settings.code_senders == ("inbox",)
    assert settings.log_format == "console"
    assert settings.health_url == "http://127.0.0.1:8000"


def test_production_is_the_default_and_its_error_lists_every_missing_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({})
    named = {problem.split()[0] for problem in caught.value.problems}
    assert named == {
        "CURHAT_SECRET_KEY",
        "CURHAT_VAPID_PRIVATE_KEY",
        "CURHAT_CODE_SENDERS",
        "CURHAT_GATEWAY",
        "CURHAT_DATABASE_URL",
        "CURHAT_VALKEY_URL",
        "CURHAT_CUSTOMER_ORIGINS",
        "CURHAT_MITRA_ORIGINS",
        "CURHAT_CONTROL_CENTER_ORIGINS",
    }


def test_production_refuses_the_inbox_as_its_code_sender() -> None:
    with pytest.raises(SettingsError, match="CURHAT_CODE_SENDERS is 'inbox'; production needs senders"):
        Settings.from_environment({"CURHAT_CODE_SENDERS": "inbox"})


WHATSAPP = {
    "WHATSAPP_PHONE_NUMBER_ID": "106540352242922",
    "WHATSAPP_ACCESS_TOKEN": "EAAJBx",
    "WHATSAPP_TEMPLATE": "sign_in_code",
}
TWILIO = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "secret", "TWILIO_FROM": "CURHAT"}
IN_PRODUCTION = {
    "ENVIRONMENT": "production",
    "GATEWAY": "mock",
    "DATABASE_URL": "postgresql://u:p@localhost/curhat",
    "VALKEY_URL": "valkey://localhost:6379/0",
    "PUBLIC_ORIGINS": "https://app.example.id",
}


def test_production_starts_with_real_senders_of_codes_in_the_configured_order() -> None:
    settings = development(**IN_PRODUCTION, **WHATSAPP, **TWILIO, CODE_SENDERS="sms, whatsapp")
    assert settings.code_senders == ("sms", "whatsapp")
    assert settings.whatsapp_template_language == "id"
    assert settings.codes_per_day == {"ID": 10_000}
    assert "EAAJBx" not in repr(settings)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("sender", "wanted"), [("whatsapp", WHATSAPP), ("sms", TWILIO)], ids=["whatsapp", "sms"]
)
def test_the_error_for_a_half_configured_sender_names_each_missing_setting(
    sender: str, wanted: dict[str, str]
) -> None:
    for missing in wanted:
        rest = {name: value for name, value in wanted.items() if name != missing}
        (problem,) = problems_of(**IN_PRODUCTION, **rest, CODE_SENDERS=sender)
        assert problem.startswith(
            f"CURHAT_{missing} is not set, and the sender {sender!r} of codes needs it; right is "
        )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("WHATSAPP_PHONE_NUMBER_ID", "+62811"),
        ("WHATSAPP_TEMPLATE", "Sign in"),
        ("WHATSAPP_TEMPLATE_LANGUAGE", "Indonesian"),
        ("TWILIO_ACCOUNT_SID", "SK" + "0" * 32),
        ("TWILIO_FROM", "a name that is too long"),
        ("TWILIO_FROM", "0811"),
        ("CODES_PER_DAY", "0"),
        ("CODES_PER_DAY", "ID:5,SG:5"),
        ("CODES_PER_DAY", "ID:many"),
        ("CODE_SENDERS", "pigeon"),
        ("CODE_SENDERS", "inbox,inbox"),
        ("CODE_SENDERS", "file:relative"),
        ("ALLOW_FILE_CODES", "yes"),
    ],
)
def test_the_error_for_a_wrong_setting_of_the_senders_names_the_setting(name: str, wrong: str) -> None:
    (problem,) = problems_of(**{name: wrong})
    assert problem.startswith(f"CURHAT_{name} is {wrong!r}")
    assert "right" in problem


def test_the_error_for_a_wrong_token_of_a_sender_names_the_setting_and_hides_the_token() -> None:
    (problem,) = problems_of(WHATSAPP_ACCESS_TOKEN="two words")
    assert problem.startswith("CURHAT_WHATSAPP_ACCESS_TOKEN is not shown here; right is one line")


def test_the_help_contact_is_a_mail_address_or_a_chat_on_whatsapp() -> None:
    assert development().help_contact is None
    assert development(HELP_CONTACT="tim@curhat.id").help_contact == "mailto:tim@curhat.id"
    assert development(HELP_CONTACT="https://wa.me/628120000001").help_contact == "https://wa.me/628120000001"
    for wrong in ("javascript:alert(1)", "https://example.com", "mailto:tim@curhat.id", "tim"):
        (problem,) = problems_of(HELP_CONTACT=wrong)
        assert problem.startswith(f"CURHAT_HELP_CONTACT is {wrong!r}; right")


def test_codes_per_day_is_set_to_one_number_or_to_one_number_per_country() -> None:
    assert development(PHONE_REGIONS="ID,SG", CODES_PER_DAY="70").codes_per_day == {"ID": 70, "SG": 70}
    assert development(PHONE_REGIONS="ID,SG", CODES_PER_DAY="ID:90, SG:5").codes_per_day == {
        "ID": 90,
        "SG": 5,
    }
    (problem,) = problems_of(PHONE_REGIONS="ID,SG", CODES_PER_DAY="ID:90")
    assert "such as ID:5000,SG:5000" in problem


def test_the_key_file_of_the_service_account_is_checked_and_not_shown() -> None:
    settings = development(FCM_SERVICE_ACCOUNT=key_file())
    assert settings.fcm_service_account == key_file()
    assert "PRIVATE KEY" not in repr(settings)
    whole = json.loads(key_file())
    wrong = [
        "push.json",
        "{}",
        "[]",
        json.dumps(whole | {"private_key": "no key"}),
        json.dumps(whole | {"private_key": 5}),
        json.dumps(whole | {"project_id": "../other"}),
        json.dumps({name: value for name, value in whole.items() if name != "client_email"}),
    ]
    for text in wrong:
        (problem,) = problems_of(FCM_SERVICE_ACCOUNT=text)
        assert problem.startswith("CURHAT_FCM_SERVICE_ACCOUNT is not shown here; right is the JSON")


def test_production_writes_codes_to_a_file_only_if_the_settings_accept_this_risk_by_name() -> None:
    (problem,) = problems_of(**IN_PRODUCTION, CODE_SENDERS="file:/run/curhat/codes")
    assert "CURHAT_ALLOW_FILE_CODES=1" in problem
    allowed = development(**IN_PRODUCTION, CODE_SENDERS="file:/run/curhat/codes", ALLOW_FILE_CODES="1")
    assert allowed.code_senders == ("file:/run/curhat/codes",)


@pytest.mark.rule("2a.1")
def test_production_must_name_its_gateway_and_knows_whether_the_gateway_is_a_mock() -> None:
    with pytest.raises(
        SettingsError, match="CURHAT_GATEWAY is not set; right is mock, with which no payment"
    ):
        Settings.from_environment({})
    with pytest.raises(SettingsError, match="CURHAT_GATEWAY is 'xendit'; right is mock"):
        Settings.from_environment({"CURHAT_GATEWAY": "xendit"})
    mocked = dataclasses.replace(development(), environment="production")
    assert (development().gateway, development().is_mocked_in_production) == ("mock", False)
    assert mocked.is_mocked_in_production


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.id"])
def test_development_refuses_an_address_that_other_machines_can_reach(host: str) -> None:
    (problem,) = problems_of(HOST=host)
    assert problem.startswith(f"CURHAT_HOST is {host!r}; development listens on this machine only")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_development_listens_on_any_loopback_address(host: str) -> None:
    assert development(HOST=host).host == host


def test_the_error_for_a_misspelt_setting_names_the_correct_setting() -> None:
    assert problems_of(PROT="80") == ["CURHAT_PROT is not a setting; did you mean CURHAT_PORT?"]


def test_the_error_for_a_misspelt_file_of_a_secret_names_the_correct_setting() -> None:
    assert problems_of(VALKEY_URL_FILES="x") == [
        "CURHAT_VALKEY_URL_FILES is not a setting; did you mean CURHAT_VALKEY_URL_FILE?"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "OWNER_DATABASE_URL",
        "ADMIN_DATABASE_URL",
        "VALKEY_URL",
        "SECRET_KEY",
        "VAPID_PRIVATE_KEY",
        "GATEWAY_WEBHOOK_TOKEN",
    ],
)
def test_every_secret_can_be_read_from_a_file(name: str, tmp_path: Path) -> None:
    values = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "OWNER_DATABASE_URL": "postgresql://o:p@h/d",
        "ADMIN_DATABASE_URL": "postgresql://a:p@h/d",
        "VALKEY_URL": "valkey://:p@h",
        "SECRET_KEY": "s" * 40,
        "GATEWAY_WEBHOOK_TOKEN": "t" * 20,
        "VAPID_PRIVATE_KEY": base64.b64encode(b"x" * 32).decode(),
    }
    environ = {f"CURHAT_{each}": value for each, value in values.items()} | {
        "CURHAT_ENVIRONMENT": "development"
    }
    expected = Settings.from_environment(environ)
    (tmp_path / "secret").write_text(environ.pop(f"CURHAT_{name}") + "\n")
    environ[f"CURHAT_{name}_FILE"] = str(tmp_path / "secret")
    assert Settings.from_environment(environ) == expected


def test_a_setting_that_is_not_secret_cannot_be_read_from_a_file(tmp_path: Path) -> None:
    (problem,) = problems_of(PORT_FILE=str(tmp_path / "port"))
    assert problem.startswith("CURHAT_PORT_FILE is not a setting")


def test_a_secret_and_a_file_with_the_secret_cannot_both_be_set(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    assert problems_of(SECRET_KEY_FILE=str(tmp_path / "key")) == [
        "CURHAT_SECRET_KEY_FILE is set though CURHAT_SECRET_KEY is; right is one of the two"
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff" * 40, "it contains no UTF-8 text"),
        (b"s" * 70_000, "it is too large"),
    ],
    ids=["missing", "empty", "only a line break", "no text", "too large"],
)
def test_an_unusable_file_of_a_secret_causes_one_error_that_names_the_file(
    content: bytes | None, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_of(DATABASE_URL="postgresql://u:p@h/d", VALKEY_URL_FILE=str(path))
    assert problem.startswith(
        f"CURHAT_VALKEY_URL_FILE is {str(path)!r}, which cannot be used ({fault}); right is"
    )


def test_variables_without_the_prefix_are_ignored() -> None:
    environ = {"CURHAT_ENVIRONMENT": "development", "CURHAT_SECRET_KEY": KEY, "PORT": "x", "PGPORT": "y"}
    assert Settings.from_environment(environ).port == 8000


@pytest.mark.parametrize("port", ["0", "65536", "-1", "80x", "٨٠", "1e3"])
def test_a_port_out_of_bounds_is_refused(port: str) -> None:
    assert problems_of(PORT=port) == [f"CURHAT_PORT is {port!r}; right is a whole number from 1 to 65535"]


def test_an_empty_variable_counts_as_not_set() -> None:
    assert development(PORT="", DATABASE_URL="", VALKEY_URL="").port == 8000


def test_settings_for_only_one_of_postgresql_and_valkey_are_refused() -> None:
    (problem,) = problems_of(DATABASE_URL="postgresql://u:secret@h/d")
    assert (
        problem
        == "CURHAT_VALKEY_URL is not set though CURHAT_DATABASE_URL is; right is both, or neither (embedded)"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h:5432/d",
        "postgres://h/d",
        "postgresql://curhat@/curhat?host=/tmp/x&port=5432",
        "postgresql://u:p@one:5432,two:5433,[::1]/d",
        "postgresql://u:p@one,two/d?sslmode=require",
    ],
)
def test_database_addresses_over_tcp_and_sockets_are_accepted(url: str) -> None:
    assert development(DATABASE_URL=url, VALKEY_URL="unix:///tmp/x/valkey.sock").database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/d",
        "postgresql://",
        "h:5432",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:secret@one:5432,two:port/d",
        "postgresql://u:secret@one,,two/d",
        "postgresql://u:secret@h:70000/d",
    ],
)
def test_the_error_for_a_wrong_database_address_does_not_contain_the_address(url: str) -> None:
    (problem,) = problems_of(DATABASE_URL=url, VALKEY_URL="valkey://h:6379/0")
    assert problem.startswith("CURHAT_DATABASE_URL is not shown here; right is such as postgresql://")
    assert "secret" not in problem


@pytest.mark.parametrize("url", ["http://h", "valkey://", "unix://", "valkey://h:port", "valkey://one,two"])
def test_a_wrong_valkey_address_is_refused(url: str) -> None:
    (problem,) = problems_of(DATABASE_URL="postgresql://h/d", VALKEY_URL=url)
    assert problem.startswith("CURHAT_VALKEY_URL is not shown here; right is such as valkey://")


@pytest.mark.parametrize(
    "origins",
    ["https://a.id/", "https://a.id/path", "a.id", "https://*.a.id", "https://u@a.id", "ftp://a.id", ","],
)
def test_a_malformed_public_origin_is_refused(origins: str) -> None:
    (problem,) = problems_of(PUBLIC_ORIGINS=origins)
    assert problem.startswith("CURHAT_PUBLIC_ORIGINS is")


def test_several_origins_are_separated_by_commas() -> None:
    settings = development(PUBLIC_ORIGINS="http://localhost:5173, https://a.id")
    assert settings.public_origins == ("http://localhost:5173", "https://a.id")


def test_production_accepts_only_https_origins() -> None:
    with pytest.raises(
        SettingsError, match=r"CURHAT_PUBLIC_ORIGINS is 'http://a\.id'; 'http://a\.id' is no origin"
    ):
        Settings.from_environment({"CURHAT_PUBLIC_ORIGINS": "http://a.id"})


ROLE_ORIGINS = {
    "CUSTOMER_ORIGINS": "https://app.example.id",
    "MITRA_ORIGINS": "https://mitra.example.id",
    "CONTROL_CENTER_ORIGINS": "https://control.example.id",
}


def test_each_client_can_have_origins_of_its_own() -> None:
    without = {name: value for name, value in IN_PRODUCTION.items() if name != "PUBLIC_ORIGINS"}
    settings = development(**without, **ROLE_ORIGINS, **TWILIO, CODE_SENDERS="sms")
    assert settings.public_origins == tuple(ROLE_ORIGINS.values())
    assert settings.origins_of("customer") == ("https://app.example.id",)
    assert settings.origins_of("mitra") == ("https://mitra.example.id",)
    assert settings.origins_of("operator") == ("https://control.example.id",)


@pytest.mark.parametrize("missing", ROLE_ORIGINS)
def test_production_names_the_client_that_has_no_origin(missing: str) -> None:
    without = {name: value for name, value in IN_PRODUCTION.items() if name != "PUBLIC_ORIGINS"}
    rest = {name: value for name, value in ROLE_ORIGINS.items() if name != missing}
    (problem,) = problems_of(**without, **rest, **TWILIO, CODE_SENDERS="sms")
    assert problem.startswith(f"CURHAT_{missing} is not set; right is the origin of /")


def test_a_client_without_origins_of_its_own_has_all_public_origins() -> None:
    settings = development(PUBLIC_ORIGINS="https://a.id, https://b.id", MITRA_ORIGINS="https://b.id")
    assert settings.origins_of("customer") == ("https://a.id", "https://b.id")
    assert settings.origins_of("mitra") == ("https://b.id",)


def test_the_error_for_a_short_secret_key_does_not_contain_the_key() -> None:
    (problem,) = problems_of(SECRET_KEY="short-key")
    assert problem.startswith("CURHAT_SECRET_KEY is 9 bytes long")
    assert "short-key" not in problem


def test_the_development_key_is_created_once_and_is_readable_only_by_the_owner_of_the_file(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    key = development_secret_key(data_dir)
    assert len(key) >= 32
    assert development_secret_key(data_dir) == key
    assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert [path.name for path in data_dir.iterdir()] == ["secret_key"]


def test_the_development_push_key_is_created_once_and_is_readable_only_by_the_owner_of_the_file(
    tmp_path: Path,
) -> None:
    key = development_vapid_private_key(tmp_path)
    assert len(key) == 32
    assert development_vapid_private_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "vapid_private_key").stat().st_mode) == 0o600


def test_the_error_for_a_damaged_push_key_contains_the_file_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "vapid_private_key").write_text("half a k")
    with pytest.raises(SettingsError, match="right is to remove that file"):
        Settings.from_environment({"CURHAT_ENVIRONMENT": "development", "CURHAT_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "key",
    ["short", base64.b64encode(b"\0" * 32).decode(), base64.b64encode(b"\xff" * 32).decode(), "?" * 43],
    ids=["too short", "zero", "beyond the curve", "no base64"],
)
def test_the_error_for_a_wrong_push_key_does_not_contain_the_key(key: str) -> None:
    (problem,) = problems_of(VAPID_PRIVATE_KEY=key)
    assert problem.startswith(
        "CURHAT_VAPID_PRIVATE_KEY is not shown here; right is 32 random bytes in base64"
    )
    assert key not in problem


def test_a_push_key_is_accepted_in_both_alphabets_of_base64() -> None:
    raw = bytes(range(200, 232))
    standard, url_safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert standard.rstrip("=") != url_safe
    for text in (standard, url_safe):
        assert development(VAPID_PRIVATE_KEY=text).vapid_private_key == raw


def test_the_error_for_a_data_directory_that_cannot_be_created_contains_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ = {"CURHAT_ENVIRONMENT": "development", "CURHAT_DATA_DIR": str(tmp_path / "file" / "data")}
    with pytest.raises(SettingsError, match=r"CURHAT_DATA_DIR is .*, where nothing can be kept"):
        Settings.from_environment(environ)


def test_the_repr_of_the_settings_contains_no_secret() -> None:
    text = repr(development(DATABASE_URL="postgresql://u:hush@h/d", VALKEY_URL="valkey://:hush@h"))
    assert "hush" not in text
    assert KEY not in text
    assert "vapid" not in text


def test_the_refund_approval_limit_is_checked_at_start() -> None:
    assert development().refund_approval_limit_rp == 50_000
    assert development(REFUND_APPROVAL_LIMIT_RP="0").refund_approval_limit_rp == 0
    for wrong in ("-1", "50.000", "Rp50000", "1000000001"):
        (problem,) = problems_of(REFUND_APPROVAL_LIMIT_RP=wrong)
        assert problem == (
            f"CURHAT_REFUND_APPROVAL_LIMIT_RP is {wrong!r}; right is a whole number from 0 to 1000000000"
        )


@pytest.mark.rule("S.1")
def test_the_countries_whose_numbers_can_sign_in_are_checked_at_start() -> None:
    assert development().phone_regions == ("ID",)
    assert development(PHONE_REGIONS="id, SG").phone_regions == ("ID", "SG")
    for wrong in ("62", "Indonesia", "ID,XX", ","):
        (problem,) = problems_of(PHONE_REGIONS=wrong)
        assert problem == (
            f"CURHAT_PHONE_REGIONS is {wrong!r}; right are codes of countries with commas between, such as ID,SG,MY"
        )


def test_the_trusted_proxies_are_checked_at_start() -> None:
    assert development().trusted_proxies == ("127.0.0.1",)
    assert development(TRUSTED_PROXIES="10.0.0.5, 10.1.0.0/16").trusted_proxies == ("10.0.0.5", "10.1.0.0/16")
    for wrong in ("*", "proxy.example", "10.0.0.5/8", "10.0.0.5,"):
        (problem,) = problems_of(TRUSTED_PROXIES=wrong)
        assert problem == (
            f"CURHAT_TRUSTED_PROXIES is {wrong!r}; right are addresses or networks with commas between, "
            "such as 10.0.0.5,10.1.0.0/16"
        )


PRODUCTION = {
    "CURHAT_SECRET_KEY": KEY,
    "CURHAT_VAPID_PRIVATE_KEY": VAPID_KEY,
    "CURHAT_GATEWAY": "mock",
    "CURHAT_PUBLIC_ORIGINS": "https://a.id",
    "CURHAT_DATABASE_URL": "postgresql://u:p@db.internal/d?sslmode=verify-full",
    "CURHAT_VALKEY_URL": "valkeys://:p@valkey.internal:6379/0",
}


def production_problems(**variables: str) -> list[str]:
    """Return the problems of production settings. The missing sender of codes is left out."""
    environ = PRODUCTION | {f"CURHAT_{name}": value for name, value in variables.items()}
    return [problem.sentence for problem in Settings.read(environ)[1] if problem.name != "CODE_SENDERS"]


@pytest.mark.parametrize(
    ("url", "risks"),
    [
        ("postgresql://u:p@h/d?sslmode=verify-full", set()),
        ("postgresql://u:p@h/d?sslmode=require", set()),
        ("postgresql://u@h/d?sslmode=verify-full&sslcert=/c.pem", set()),
        ("postgresql://u@h/d?sslmode=verify-full&passfile=/p", set()),
        ("postgresql://h/d?user=u&password=p&sslmode=verify-ca", set()),
        ("postgresql://u:p@h/d", {"postgresql-plain-text"}),
        ("postgresql://u:p@h/d?sslmode=prefer", {"postgresql-plain-text"}),
        ("postgresql://u@h/d?sslmode=require", {"postgresql-no-password"}),
        ("postgresql://u@10.0.0.5/d", {"postgresql-plain-text", "postgresql-no-password"}),
        ("postgresql://u:p@localhost,h/d", {"postgresql-plain-text"}),
        ("postgresql://u:p@/d?host=localhost,h", {"postgresql-plain-text"}),
        ("postgresql://u@localhost,127.0.0.9,[::1]/d", set()),
        ("postgresql://u@/d?host=/run/postgresql", set()),
    ],
)
def test_production_refuses_a_remote_postgresql_without_encryption_or_without_a_password(
    url: str, risks: set[str]
) -> None:
    problems = production_problems(DATABASE_URL=url)
    assert {risk for risk in RISKS for problem in problems if f"put {risk} into" in problem} == risks
    assert len(problems) == len(risks)
    assert production_problems(DATABASE_URL=url, ALLOW_INSECURE=", ".join(risks or RISKS)) == []
    assert development(DATABASE_URL=url, VALKEY_URL="valkey://h").database_url == url


@pytest.mark.parametrize(
    ("url", "risks"),
    [
        ("valkeys://:p@h", set()),
        ("rediss://u:p@h:6380/1", set()),
        ("valkeys://h?password=p", set()),
        ("valkeys://h?ssl_certfile=/c.pem", set()),
        ("valkey://:p@h", {"valkey-plain-text"}),
        ("valkeys://h", {"valkey-no-password"}),
        ("redis://10.0.0.6", {"valkey-plain-text", "valkey-no-password"}),
        ("valkey://localhost", set()),
        ("valkey://[::1]:6379", set()),
        ("unix:///run/valkey.sock", set()),
    ],
)
def test_production_refuses_a_remote_valkey_without_encryption_or_without_a_password(
    url: str, risks: set[str]
) -> None:
    problems = production_problems(VALKEY_URL=url)
    assert {risk for risk in RISKS for problem in problems if f"put {risk} into" in problem} == risks
    assert len(problems) == len(risks)
    assert production_problems(VALKEY_URL=url, ALLOW_INSECURE=",".join(risks or RISKS)) == []


def test_the_error_for_an_insecure_url_does_not_contain_the_password() -> None:
    (problem,) = production_problems(DATABASE_URL="postgresql://u:hush@h/d")
    assert problem.startswith("CURHAT_DATABASE_URL sends passwords and chats over the network without TLS")
    assert "hush" not in problem


def test_only_a_named_risk_can_be_accepted() -> None:
    (problem,) = problems_of(ALLOW_INSECURE="everything")
    assert problem.startswith(
        "CURHAT_ALLOW_INSECURE is 'everything'; right are some of postgresql-plain-text"
    )


def test_a_command_needs_only_the_settings_that_it_uses() -> None:
    database = {"CURHAT_DATABASE_URL": "postgresql://u:p@localhost/d"}
    settings = Settings.from_environment(database | {"CURHAT_PORT": "x"}, ["DATABASE_URL"])
    assert settings.database_url == "postgresql://u:p@localhost/d"
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"CURHAT_DATABSE_URL": "x", "CURHAT_PORT": "x"}, ["DATABASE_URL"])
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "CURHAT_DATABASE_URL",
        "CURHAT_DATABSE_URL",
    ]
    with pytest.raises(SettingsError, match="CURHAT_PHONE_REGIONS is 'XX'"):
        Settings.from_environment(
            database | {"CURHAT_PHONE_REGIONS": "XX"}, ["DATABASE_URL", "PHONE_REGIONS"]
        )
    with pytest.raises(SettingsError, match="CURHAT_DATABASE_URL_FILE is '/nowhere'"):
        Settings.from_environment({"CURHAT_DATABASE_URL_FILE": "/nowhere"}, ["DATABASE_URL"])


def test_the_error_for_a_short_token_of_web_hooks_does_not_contain_the_token() -> None:
    (problem,) = problems_of(GATEWAY_WEBHOOK_TOKEN="too-short")
    assert problem.startswith("CURHAT_GATEWAY_WEBHOOK_TOKEN is not shown here; right are at least 20 ASCII")
    assert "too-short" not in problem


def test_a_worker_in_development_has_an_operations_port_only_if_the_port_is_configured() -> None:
    assert development().operations_port_of("worker") is None
    settings = development(OPERATIONS_PORT="9100")
    assert (settings.operations_port_of("server"), settings.operations_port_of("worker")) == (None, 9100)
    assert settings.health_url == settings.local_url


def test_a_proxy_notice_that_is_not_a_number_of_seconds_is_refused() -> None:
    assert development().drain_notice_seconds == 0
    assert development(DRAIN_NOTICE_SECONDS="7").drain_notice_seconds == 7
    (problem,) = problems_of(DRAIN_NOTICE_SECONDS="5s")
    assert problem.startswith("CURHAT_DRAIN_NOTICE_SECONDS is '5s'")
