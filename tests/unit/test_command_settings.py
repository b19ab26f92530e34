"""Test that a command finds its settings in its environment and in the running `curhat up`."""

import os
from pathlib import Path

import pytest

from curhat.app.cli.common import CommandError, joined_environ, joined_settings
from curhat.app.run_file import RunFile


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("CURHAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CURHAT_DATA_DIR", str(tmp_path))
    return tmp_path


def write_run_file(data_dir: Path) -> None:
    RunFile(
        pid=os.getpid(),
        environment="development",
        host="127.0.0.1",
        port=8000,
        database_url="postgresql://up@localhost/curhat",
        valkey_url="valkey://localhost",
        secret_key="k" * 40,
    ).write(data_dir)


def test_a_command_without_a_database_setting_uses_the_servers_of_the_running_curhat_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match=f"nothing is running in {data_dir}"):
        joined_environ()
    write_run_file(data_dir)
    monkeypatch.setenv("CURHAT_PORT", "8001")
    settings = joined_settings()
    assert (settings.database_url, settings.port) == ("postgresql://up@localhost/curhat", 8001)


def test_a_setting_from_a_file_overrides_the_setting_of_the_running_curhat_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run_file(data_dir)
    (data_dir / "other").write_text("valkey://localhost/7\n")
    monkeypatch.setenv("CURHAT_VALKEY_URL_FILE", str(data_dir / "other"))
    settings = joined_settings()
    assert settings.valkey_url == "valkey://localhost/7"
    assert settings.database_url == "postgresql://up@localhost/curhat"


def test_a_command_with_a_file_for_the_database_url_uses_no_running_curhat_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run_file(data_dir)
    (data_dir / "database").write_text("postgresql://own@localhost/curhat\n")
    monkeypatch.setenv("CURHAT_DATABASE_URL_FILE", str(data_dir / "database"))
    settings = joined_settings(["DATABASE_URL"])
    assert (settings.database_url, settings.environment) == (
        "postgresql://own@localhost/curhat",
        "production",
    )
