"""Check the imports and the lock file of web/, which the type check of web/ does not cover."""

import json
import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
CLIENTS = ("customer", "mitra", "control-center")
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""")


def imports_of(folder: str) -> list[tuple[str, str]]:
    """Return each relative import in a folder of web/: the importing file, and the target's folder in web/."""
    found = []
    for path in sorted((WEB / folder).rglob("*")):
        if path.suffix in (".ts", ".svelte"):
            for target in IMPORT.findall(path.read_text(encoding="utf-8")):
                reached = (path.parent / target).resolve().relative_to(WEB)
                found.append((str(path.relative_to(WEB)), reached.parts[0]))
    return found


@pytest.mark.parametrize("folder", [*CLIENTS, "shared"])
def test_a_client_imports_only_from_its_own_folder_and_from_shared(folder: str) -> None:
    others = [(file, reached) for file, reached in imports_of(folder) if reached not in (folder, "shared")]
    assert others == []


def test_imports_of_finds_the_imports_of_a_client() -> None:
    assert len(imports_of("customer")) > 50


def test_the_lock_file_contains_no_registry_address() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 50
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
