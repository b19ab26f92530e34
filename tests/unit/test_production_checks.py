"""What `curhat doctor --production` says about the origins of the clients."""

from dataclasses import replace

import pytest

from curhat.app.production_checks import check_process
from curhat.kit.settings import Settings
from tests.support.signed_in import development_settings

APP, MITRA, CONTROL = "https://app.example.id", "https://mitra.example.id", "https://control.example.id"


@pytest.fixture
def settings() -> Settings:
    return development_settings("postgresql://u:p@localhost/curhat", "valkey://localhost:6379/0")


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
    (finding,) = [found for found in check_process(shared, {}) if found.subject == "public origins"]
    assert (finding.state, finding.sentence[: len(said)]) == ("warn", said)


def test_a_host_per_client_is_fine(settings: Settings) -> None:
    separate = replace(
        settings, customer_origins=(APP,), mitra_origins=(MITRA,), control_center_origins=(CONTROL,)
    )
    assert [found for found in check_process(separate, {}) if found.subject == "public origins"] == []
