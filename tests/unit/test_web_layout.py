"""Check the imports and the lock file of web/, because the type check of web/ does not cover them."""

import json
import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
CLIENTS = ("customer", "mitra", "control-center")
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""")


def imports_of(folder: str) -> list[tuple[str, str]]:
    """Return the relative imports in a folder of web/, each with the importing file and the target's folder in web/."""
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


def test_the_imports_of_a_client_are_found() -> None:
    assert len(imports_of("customer")) > 50


STATIC_IMPORT = re.compile(r"""^\s*import\s(?!type)[^;(]*?['"](\.[^'"]+)['"]""", re.MULTILINE)
SECTION = re.compile(r"^  (\w+):", re.MULTILINE)


def first_load_of(client: str) -> set[Path]:
    """Return the static imports of main.ts and SignedIn.svelte. A signed-in person loads these modules immediately."""
    found: set[Path] = set()
    open_files = [WEB / client / "main.ts", WEB / client / "SignedIn.svelte"]
    while open_files:
        file = open_files.pop()
        if file not in found:
            found.add(file)
            for target in STATIC_IMPORT.findall(file.read_text(encoding="utf-8")):
                path = str((file.parent / target).resolve())
                names = [Path(path + suffix) for suffix in ("", ".ts", ".svelte.ts", ".svelte")]
                open_files += [name for name in names if name.is_file() and name.suffix in (".ts", ".svelte")]
    return found


@pytest.mark.parametrize("client", ["customer", "mitra"])
def test_the_first_load_uses_no_words_that_are_fetched_later(client: str) -> None:
    late = {
        name: set(SECTION.findall((WEB / folder / "words" / "idScreens.ts").read_text(encoding="utf-8")))
        for name, folder in (("words", client), ("shared", "shared"))
    }
    wrong = []
    files = first_load_of(client)
    assert WEB / client / "screens" / "Home.svelte" in files
    for file in files:
        text = file.read_text(encoding="utf-8")
        used = [(name, section) for name in late for section in re.findall(rf"\b{name}\(\)\.(\w+)", text)]
        if "text = $derived(words());" in text:
            used += [("words", section) for section in re.findall(r"\btext\.(\w+)", text)]
        wrong += [(file.name, section) for name, section in used if section in late[name]]
    assert wrong == []


def test_the_lock_file_contains_no_registry_address() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 50
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
