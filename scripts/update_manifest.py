"""Update ``size`` and ``sha256`` in the manifest from the weight files.

Usage: ``python scripts/update_manifest.py [NAME...]`` (default: all). Needs an editable install
(``pip install -e .``). Add a new weight to ``src/lipwright/weights/manifest.py`` with ``size=0``
and ``sha256=""`` first.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import sha256

WEIGHTS = Path(__file__).parents[1] / "src" / "lipwright" / "weights"


def rewrite(source: str, name: str, size: int, digest: str) -> str:
    """Return the manifest's source with the size and digest of one weight replaced."""
    entry = re.compile(
        rf'(name="{re.escape(name)}",.*?\bsize=)[\d_]+(,\s+sha256=)"[0-9a-f]*"', re.DOTALL
    )
    changed, count = entry.subn(rf'\g<1>{size}\g<2>"{digest}"', source, count=1)
    if not count:
        raise SystemExit(f"the manifest has no entry {name!r} with size= and sha256=")
    return changed


def main() -> None:
    manifest = WEIGHTS / "manifest.py"
    source = manifest.read_text()
    for name in sys.argv[1:] or MANIFEST:
        path = WEIGHTS / "files" / MANIFEST[name].file
        source = rewrite(source, name, path.stat().st_size, sha256(path))
        print(f"{name}: {path.stat().st_size} bytes")
    manifest.write_text(source)


if __name__ == "__main__":
    main()
