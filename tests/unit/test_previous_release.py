"""Test which release `make check-previous-release` runs, and that the check never passes without one."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from curhat.kit.migrations import Migration, load_migrations, migrations_folder
from tests import previous_release
from tests.previous_release import NoPreviousRelease


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.id")
    ended = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits. The first one is recorded as the previous release."""
    git(tmp_path, "init", "--quiet")
    for message in ("first", "second"):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", message)
    recorded = tmp_path / "recorded.txt"
    recorded.write_text(git(tmp_path, "rev-parse", "HEAD~1") + "\n")
    monkeypatch.delenv("PREVIOUS_RELEASE", raising=False)
    monkeypatch.setattr(previous_release, "ROOT", tmp_path)
    monkeypatch.setattr(previous_release, "RECORDED", recorded)
    return tmp_path


def test_without_a_tag_the_recorded_commit_is_the_previous_release(clone: Path) -> None:
    assert previous_release.previous_release() == git(clone, "rev-parse", "HEAD~1")


def test_the_newest_tag_is_the_previous_release_except_a_tag_of_this_commit(clone: Path) -> None:
    git(clone, "tag", "v0.9.0", "HEAD~1")
    git(clone, "tag", "v0.10.0", "HEAD~1")
    git(clone, "tag", "v0.11.0", "HEAD")
    assert previous_release.previous_release() == "v0.10.0"


def test_in_a_clone_without_the_previous_release_the_check_fails_and_says_so(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREVIOUS_RELEASE", "v0.1.0")
    with pytest.raises(NoPreviousRelease, match=r"does not contain v0\.1\.0"):
        previous_release.previous_release()
    assert previous_release.main([]) == 2
    assert "error: the check did not run" in capsys.readouterr().err
    assert previous_release.main(["--if-available"]) == 0
    assert "warning: the check did not run" in capsys.readouterr().err


def test_outside_of_a_repository_the_check_says_that_it_did_not_run(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(clone / ".git")
    assert previous_release.main([]) == 2
    assert "git does not work here" in capsys.readouterr().err


def test_no_migration_of_the_previous_release_has_other_statements_now() -> None:
    """A comment inside the quoted body of a function is a statement too: PostgreSQL stores it.

    A database of the previous release would refuse to migrate.
    """
    try:
        release = previous_release.previous_release()
    except NoPreviousRelease as error:
        pytest.skip(str(error))
    archive = subprocess.run(
        ["git", "-C", previous_release.ROOT, "archive", "--format=tar", release, "migrations"],
        capture_output=True,
        check=True,
    )
    now = {migration.name: migration.checksum for migration in load_migrations(migrations_folder())}
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files.getmembers():
            file = files.extractfile(member)
            if file is not None:
                name = Path(member.name).stem
                assert now[name] == Migration(1, name, file.read().decode()).checksum, name
