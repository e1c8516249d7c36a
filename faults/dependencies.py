"""Known weaknesses of the packages in requirements.lock, asked of the OSV database, as pip-audit does.

In: the lock file, and a network that reaches api.osv.dev. Out: a line for every package with advisories, and exit code
1; 0 where there is none; 2, in one line, where the database cannot be asked.

    make audit-deps
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

URL = "https://api.osv.dev/v1/querybatch"
PATIENCE = 30  # seconds
PINNED = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def pins(lock: str) -> list[tuple[str, str]]:
    """(package, version) of every line of a lock file; a line that pins nothing is an error."""
    lines = [line.strip() for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    found = [PINNED.fullmatch(line) for line in lines]
    for line, match in zip(lines, found, strict=True):
        if match is None:
            raise ValueError(f"{line!r} pins no version; expected NAME==VERSION")
    return [(match[1], match[2]) for match in found]


def advisories(packages: list[tuple[str, str]], url: str = URL) -> Iterator[tuple[str, str, list[str]]]:
    """(package, version, ids of advisories) of those that have any. OSError where the database is not reached."""
    queries = [{"package": {"name": n, "ecosystem": "PyPI"}, "version": v} for n, v in packages]
    request = urllib.request.Request(
        url, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        results = json.load(answer)["results"]
    for (name, version), result in zip(packages, results, strict=True):
        if found := sorted(entry["id"] for entry in result.get("vulns", ())):
            yield name, version, found


def main(lock: Path = Path("requirements.lock"), url: str = URL) -> int:
    try:
        packages = pins(lock.read_text(encoding="utf-8"))
        found = list(advisories(packages, url))
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        print(f"audit-deps: {lock} could not be checked ({reason}); try again where {url} is reached", file=sys.stderr)
        return 2
    for name, version, ids in found:
        print(f"{name} {version}: {', '.join(ids)}  https://osv.dev/vulnerability/{ids[0]}")
    print(f"{len(packages)} packages of {lock}, {len(found)} with known weaknesses")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
