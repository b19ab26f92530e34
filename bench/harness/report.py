"""Holds figures with their targets and peers, and writes the tables."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Verdict = Literal["ok", "falls short", "not compared"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure, or for the ratio of a figure to the peer's figure."""

    of: Literal["figure", "ratio"]
    bound: Literal["at least", "at most"]
    limit: float

    def holds(self, number: float) -> bool:
        """Return whether `number` is within the bound."""
        return number >= self.limit if self.bound == "at least" else number <= self.limit


@dataclass(frozen=True, slots=True)
class Peer:
    """The measurement to which a figure is compared.

    `value` is None if the peer did not run. If the peer did not run, `name` gives the reason.
    """

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    If our rounds alternate with a peer's rounds, `ratio_of_rounds` is the median ratio of the rounds.
    """

    claim: str
    what: str
    value: float
    unit: str
    target: Target | None = None
    peer: Peer | None = None
    note: str = ""
    ratio_of_rounds: float | None = None

    @property
    def ratio(self) -> float | None:
        """Return the figure divided by the peer's figure."""
        if self.peer is None or not self.peer.value:
            return None
        if self.ratio_of_rounds is not None:
            return self.ratio_of_rounds
        return self.value / self.peer.value

    @property
    def verdict(self) -> Verdict | None:
        """Return whether the figure meets its target, or None if the figure has no target."""
        if self.target is None:
            return None
        number = self.value if self.target.of == "figure" else self.ratio
        if number is None:
            return "not compared"
        return "ok" if self.target.holds(number) else "falls short"


def quantity(value: float, unit: str) -> str:
    """Return a rounded number with its unit."""
    if abs(value) >= 100:
        text = f"{value:,.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}".strip()


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each round, lowest first. Another program slows both sides of a round equally."""
    return sorted(our / their for our, their in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of `values`. A `share` of 0.99 gives the 99th percentile."""
    if not values:
        raise ValueError("no values")
    # In floating point, 0.99 * 1,000 is a little more than 990.
    position = math.ceil(round(share * len(values), 6))
    return sorted(values)[max(position, 1) - 1]


def median(values: Sequence[float]) -> float:
    """Return the median, because a single disturbed round does not change the median."""
    return percentile(values, 0.5)


def line(figure: Figure) -> str:
    """Return a figure as one line."""
    parts = [f"{figure.claim}: {figure.what}: {quantity(figure.value, figure.unit)}"]
    if figure.peer is not None:
        if figure.peer.value is None:
            parts.append(f"peer not run: {figure.peer.name}")
        else:
            parts.append(f"{figure.peer.name}: {quantity(figure.peer.value, figure.unit)}")
    if figure.ratio is not None:
        parts.append(f"ratio {figure.ratio:.2f}")
    if figure.target is not None:
        parts.append(f"target {_target(figure)}")
        parts.append(str(figure.verdict))
    if figure.note:
        parts.append(figure.note)
    return " · ".join(parts)


def print_table(console: Console, figures: Sequence[Figure]) -> None:
    """Print the table at the end of a run."""
    table = Table(title="Curhat, measured", title_justify="left", show_lines=False, pad_edge=False)
    table.add_column("claim", no_wrap=True)
    table.add_column("what")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("compared with")
    table.add_column("its figure", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("", no_wrap=True)
    colours = {"ok": "green", "falls short": "red", "not compared": "yellow"}
    before = ""
    for figure in figures:
        if before and figure.claim != before:
            table.add_section()
        verdict = figure.verdict
        peer = figure.peer
        table.add_row(
            figure.claim if figure.claim != before else "",
            figure.what,
            quantity(figure.value, figure.unit),
            peer.name if peer else "",
            quantity(peer.value, figure.unit) if peer and peer.value is not None else "",
            f"{figure.ratio:.2f}" if figure.ratio is not None else "",
            _target(figure),
            f"[{colours[verdict]}]{verdict}[/]" if verdict else "",
        )
        before = figure.claim
    console.print(table)
    notes = [f"{figure.claim}, {figure.what}: {figure.note}" for figure in figures if figure.note]
    for note in notes:
        console.print(f"  {note}", highlight=False, markup=False)


def write_json(path: Path, figures: Sequence[Figure], machine: dict[str, object]) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "figures": [
            {
                "claim": figure.claim,
                "what": figure.what,
                "value": figure.value,
                "unit": figure.unit,
                "peer": figure.peer.name if figure.peer else None,
                "peer_value": figure.peer.value if figure.peer else None,
                "ratio": figure.ratio,
                "target": _target(figure) or None,
                "verdict": figure.verdict,
                "note": figure.note or None,
            }
            for figure in figures
        ],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_markdown(path: Path, figures: Sequence[Figure], machine: dict[str, object], commit: str) -> None:
    """Write the table to a file for readers of the repository."""
    about = (
        f"{machine['processors']} processors ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"Python {machine['python']}"
    )
    lines = [
        "# Measured figures",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}, commit {commit}. Do not edit.",
        f"The machine: {about}.",
        "[README.md](README.md) says what each claim measures, and how.",
        "",
        "| claim | what | figure | compared with | its figure | ratio | target | verdict |",
        "|---|---|---:|---|---:|---:|---|---|",
    ]
    for figure in figures:
        peer = figure.peer
        cells = (
            f"`{figure.claim}`",
            figure.what,
            quantity(figure.value, figure.unit),
            peer.name if peer else "",
            quantity(peer.value, figure.unit) if peer and peer.value is not None else "",
            f"{figure.ratio:.2f}" if figure.ratio is not None else "",
            _target(figure),
            figure.verdict or "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- `{figure.claim}`, {figure.what}: {figure.note}" for figure in figures if figure.note]
    path.write_text("\n".join([*lines, "", "Notes:", "", *notes]) + "\n", encoding="utf-8")


def _target(figure: Figure) -> str:
    target = figure.target
    if target is None:
        return ""
    sign = "≥" if target.bound == "at least" else "≤"
    if target.of == "ratio":
        return f"{sign} {target.limit:g} times"
    return f"{sign} {target.limit:g} {figure.unit}".rstrip()
