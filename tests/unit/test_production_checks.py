"""What `curhat doctor --production` says about settings, and about the ages of backups."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from curhat.app.findings import Finding
from curhat.app.production_checks import AGES, check_backup_ages, check_process
from curhat.kit.settings import Settings
from tests.support.signed_in import development_settings

ROOT = Path(__file__).parents[2]
APP, MITRA, CONTROL = "https://app.example.id", "https://mitra.example.id", "https://control.example.id"


@pytest.fixture
def settings() -> Settings:
    return development_settings("postgresql://u:p@localhost/curhat", "valkey://localhost:6379/0")


def of(subject: str, settings: Settings) -> list[Finding]:
    return [found for found in check_process(settings, {}) if found.subject == subject]


@pytest.mark.parametrize(
    ("public", "mitra", "said"),
    [
        ((APP,), (), "one host for three clients"),
        ((APP, MITRA), (), "2 hosts for three clients"),
        # Three hosts, and each of them may act as everybody.
        ((APP, MITRA, CONTROL), (), f"{APP} may act as customer and as mitra; give each client its own"),
        ((APP, MITRA, CONTROL), (MITRA,), f"{MITRA} may act as customer and as mitra"),
    ],
)
def test_hosts_that_do_not_protect_each_other_are_named(
    settings: Settings, public: tuple[str, ...], mitra: tuple[str, ...], said: str
) -> None:
    shared = replace(settings, public_origins=public, mitra_origins=mitra)
    (finding,) = of("public origins", shared)
    assert (finding.state, finding.sentence[: len(said)]) == ("warn", said)


def test_a_host_per_client_is_fine(settings: Settings) -> None:
    separate = replace(
        settings, customer_origins=(APP,), mitra_origins=(MITRA,), control_center_origins=(CONTROL,)
    )
    assert of("public origins", separate) == []


# Codes and risks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("senders", "state", "said"),
    [
        (("whatsapp", "sms"), "ok", "whatsapp, then sms; codes per day: ID "),
        (("sms",), "warn", "only sms"),
        (("file:/tmp/codes", "sms"), "warn", "codes are written to a file"),
    ],
)
def test_the_senders_of_codes_are_shown_with_what_is_risky(
    settings: Settings, senders: tuple[str, ...], state: str, said: str
) -> None:
    (finding,) = of("code senders", replace(settings, code_senders=senders))
    assert (finding.state, finding.sentence[: len(said)]) == (state, said)


def test_each_accepted_risk_is_shown(settings: Settings) -> None:
    risky = replace(settings, allow_insecure=("valkey-plain-text",))
    (finding,) = of("accepted risks", risky)
    assert finding.state == "warn"
    assert finding.sentence.startswith("valkey-plain-text: ")
    assert of("accepted risks", settings) == []


# Backups ---------------------------------------------------------------------------------------------------------

BACKUP, DRILL = (metric for _, metric, _, _ in AGES)
NOW = 1_800_000_000.0


def publish(folder: Path, metric: str, days_ago: float) -> None:
    """Write the file that deploy/bin/curhat-publish writes."""
    text = f"# HELP {metric} When.\n# TYPE {metric} gauge\n{metric} {int(NOW - days_ago * 86_400)}\n"
    (folder / f"{metric}.prom").write_text(text)


def test_the_ages_of_backup_and_drill_are_read_from_what_they_publish(tmp_path: Path) -> None:
    publish(tmp_path, BACKUP, 0.5)
    publish(tmp_path, DRILL, 31)
    assert [(found.state, found.subject) for found in check_backup_ages(tmp_path, NOW)] == [
        ("ok", "last backup"),
        ("ok", "restore drill"),
    ]
    publish(tmp_path, BACKUP, 2)
    publish(tmp_path, DRILL, 41)
    backup, drill = check_backup_ages(tmp_path, NOW)
    assert (backup.state, backup.sentence) == (
        "FAIL",
        "the last one ended well 2.0 days ago; see docs/operating.md",
    )
    assert drill.state == "warn"


def test_an_age_that_is_not_known_is_said_to_be_unknown(tmp_path: Path) -> None:
    (tmp_path / f"{DRILL}.prom").write_text("half a f")
    found = list(check_backup_ages(tmp_path, NOW))
    assert [each.state for each in found] == ["warn", "warn"]
    assert all("not known on this machine" in each.sentence for each in found)


def test_the_alerts_have_the_same_limits() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "curhat.rules.yml").read_text())["groups"][0][
        "rules"
    ]
    for _, metric, max_days, _ in AGES:
        (expr,) = [rule["expr"] for rule in rules if metric in rule["expr"]]
        assert f"> {int(max_days * 86_400)}" in expr
