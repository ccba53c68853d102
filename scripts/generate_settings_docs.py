"""Write docs/reference/settings.md from the settings themselves; ``--check`` only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from lipwright.settings import DAY, MIB, PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs/reference/settings.md"
HEAD = f"""# Settings

<!-- written by scripts/generate_settings_docs.py: change settings.py, not this page -->

How a deployment runs. An argument of `lipwright serve` beats the environment, which beats the file,
which beats the default. In the environment a setting is called `{PREFIX}` and its name in
capitals: `{PREFIX}SLOTS=2`; an empty variable counts as none. The file is `lipwright.toml` in the
folder where the service starts, or what `--config` or `{PREFIX}CONFIG` names:

```toml
slots = 2
public_url = "https://dub.example.org"
fetch_allow = ["media.lan", "10.0.0.0/8"]
```

`lipwright config` shows what holds and where it comes from. A setting that is unknown or does not
fit ends the start with exit code 2 and a line that names it. Over a limit a caller gets an error by
name: [errors](errors.md), [HTTP](http.md).

Clients know two variables of their own: `{PREFIX}URL` and `{PREFIX}API_KEY`.
"""


def page() -> str:
    """Return the page that the settings of today deserve."""
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        if name in Settings.groups:
            lines += [
                f"## {Settings.groups[name]}\n",
                "| setting | default | meaning |",
                "|---|---|---|",
            ]
        meaning = " ".join(inspect.cleandoc(field.description or "").split())
        lines.append(f"| `{name}` | {default_text(name, field.default)} | {meaning} |")
        if following(name) in Settings.groups:
            lines.append("")
    return "\n".join(lines) + "\n"


def following(name: str) -> str:
    """Return the setting after *name*, empty for the last one."""
    names = list(Settings.model_fields)
    return names[names.index(name) + 1] if name != names[-1] else ""


def default_text(name: str, value: Any) -> str:
    """Return a default with its unit, as people say it."""
    if Settings.model_fields[name].default_factory is not None:
        return "in the home folder"
    if value is None or value == ():
        return "none"
    if name.endswith("_bytes"):
        size = f"{value // MIB:,} MiB" if value % MIB == 0 else f"{value / 1e6:g} MB"
        return f"{value} ({size.replace(',', ' ')})"
    if name.endswith("_seconds"):
        return f"{value:g}{long_time(value)}"
    return f"`{value}`" if isinstance(value, str) else f"{value:g}" if value < 1e6 else f"{value}"


def long_time(seconds: float) -> str:
    """Return what many seconds are, empty for few."""
    for size, word in ((DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size and seconds % size == 0:
            return f" ({seconds / size:g} {word})"
    return ""


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is out of date")
    PAGE.write_text(page(), encoding="utf-8")
