"""Make a virtual environment with nothing but the Python that runs this file.

Debian and Ubuntu ship Python without ``ensurepip`` unless python3-venv is installed; then pip itself is taken from the
package index (its wheel runs as it is).
"""

from __future__ import annotations

import html.parser
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

MINIMUM = (3, 11)


class _Links(html.parser.HTMLParser):
    """Targets of the links of a package index page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def main(folder: str) -> None:
    if sys.version_info < MINIMUM:
        sys.exit(f"Python {'.'.join(map(str, MINIMUM))} or newer is needed; this is {sys.version.split()[0]}")
    try:
        import ensurepip  # noqa: F401 - only to see whether it is there
    except ImportError:
        venv.create(folder, with_pip=False, symlinks=True)
        _install_pip(Path(folder) / "bin" / "python")
        return
    venv.create(folder, with_pip=True, symlinks=True)


def _install_pip(python: Path) -> None:
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page = f"{index}/pip/"
    with urllib.request.urlopen(page, timeout=60) as answer:  # noqa: S310 - the index the user's pip would use
        kind = answer.headers.get_content_type()
        text = answer.read().decode()
    if kind.endswith("json"):
        links = [one["url"] for one in json.loads(text)["files"]]
    else:
        parser = _Links()
        parser.feed(text)
        links = parser.found
    wheels = [link for link in links if link.partition("#")[0].endswith("-py3-none-any.whl")]
    stable = [link for link in wheels if _is_stable(link)]
    link = urllib.parse.urljoin(page, (stable or wheels)[-1].partition("#")[0])
    with tempfile.TemporaryDirectory() as temporary:
        wheel = Path(temporary) / link.rpartition("/")[2]
        with urllib.request.urlopen(link, timeout=300) as answer:  # noqa: S310 - as above
            wheel.write_bytes(answer.read())
        subprocess.run([python, wheel / "pip", "install", "--quiet", wheel], check=True)  # noqa: S603 - our own arguments


def _is_stable(link: str) -> bool:
    version = link.rpartition("/")[2].split("-")[1]
    return version.replace(".", "").isdecimal()


if __name__ == "__main__":
    main(sys.argv[1])
