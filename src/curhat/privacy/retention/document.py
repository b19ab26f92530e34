"""Writes the table of the classes of data into docs/privacy.md."""

from typing import Final

from curhat.privacy.retention.classes import CLASSES, DataClass

BEGIN: Final = (
    "<!-- From here, make contracts writes the classes of src/curhat/privacy/retention/classes.py. -->"
)
END: Final = "<!-- Until here. -->"


def with_table(text: str) -> str:
    """Return the page with the present classes between BEGIN and END. Raises ValueError without these lines."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if END not in rest:
        raise ValueError(f"docs/privacy.md needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n" + "\n".join(_section(each) for each in CLASSES) + f"\n{END}{after}"


def _section(data_class: DataClass) -> str:
    tables = ", ".join(f"`{table}`" for table in data_class.tables)
    deleted_by = "nothing yet" if data_class.deleted_by is None else f"`{data_class.deleted_by}`"
    return "\n".join(
        (
            f"### {data_class.name[0].upper()}{data_class.name[1:]}",
            "",
            f"- **What:** {data_class.holds}",
            f"- **Where:** {tables}",
            f"- **How long:** {data_class.kept}",
            f"- **Why:** {data_class.why}",
            f"- **Who can see it:** {data_class.seen_by}",
            f"- **Deleted by:** {deleted_by}",
            "",
        )
    )
