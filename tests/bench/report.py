"""Where benches write what they measured: rows appended to ``var/bench.json``, printed as a table."""

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

OUTPUT = Path(os.environ.get("ARMOIRE_BENCH_JSON", "var/bench.json"))


@dataclass(frozen=True)
class Row:
    """One figure against its bar."""

    name: str
    value: float
    bar: float
    ok: bool
    details: dict[str, object]


def record(name: str, value: float, bar: float, ok: bool, details: dict[str, object]) -> Row:
    """Append a row and print it; ``bar`` in the unit of ``value``, named in ``name``.

    One JSON object a line, so that a bench that is killed loses nothing of the others.
    """
    row = Row(name, round(value, 4), bar, ok, details)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with OUTPUT.open("a", encoding="utf-8") as file:
        line = {
            "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
            "host": f"{platform.machine()} {os.cpu_count()} cores",
            "name": row.name,
            "value": row.value,
            "bar": bar,
            "ok": ok,
            "details": details,
        }
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    shown = "  ".join(f"{key}={value}" for key, value in details.items())
    print(f"{'ok ' if ok else 'NOT'} {name:<58} {value:>8.2f}  bar {bar:<7g} {shown}")
    return row
