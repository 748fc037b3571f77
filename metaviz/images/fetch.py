"""Files from the network, because a person asked: resumed, checked, and given their name last."""

import hashlib
import re
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from metaviz.files.archives import DataError
from metaviz.files.progress import Report

MOST_BYTES = 2**30
TIMEOUT_SECONDS = 20.0
_PORTION = 2**16
_REPORT_SECONDS = 0.1
_PARTIAL, _NOT_SATISFIABLE = 206, 416
_MB = 1e6


@dataclass(frozen=True)
class Remote:
    """A file elsewhere: its address, its name here, and the MD5 checksum of what it holds."""

    url: str
    name: str
    md5: str


def fetch(remote: Remote, folder: Path, report: Report) -> Path:
    """Download a file into a folder and return its path; one that is there already is kept.

    What arrives goes to NAME.part, from which another try goes on, also after `report` raised. The
    file gets its name once its checksum is right; where it is wrong, the part is removed.
    Raises: DataError, in one sentence, if the network, the server, the disk or the checksum fails.
    """
    whole, part = folder / remote.name, folder / f"{remote.name}.part"
    if holds(whole, remote.md5):
        return whole
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _receive(remote, part, report)
        report(f"Checking {remote.name}")
        found = _md5(part)
        if found != remote.md5:
            part.unlink()
            raise DataError(
                f"{remote.url} does not have the published content (its MD5 is {found}, not "
                f"{remote.md5}), so it was removed; try again later, or get the file elsewhere"
            )
        part.replace(whole)
    except InterruptedError:
        raise
    except HTTPError as error:
        raise DataError(
            f"{remote.url} cannot be downloaded: the server answers {error.code} {error.reason}; "
            "try again later, or get the file elsewhere"
        ) from error
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{remote.url} cannot be downloaded to {folder} ({_reason(error)}); check the network "
            "and the disk, and ask again: it goes on where it ended"
        ) from error
    return whole


def holds(path: Path, md5: str) -> bool:
    """Tell whether a file is there with this checksum."""
    try:
        return _md5(path) == md5
    except OSError:
        return False


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receive(remote: Remote, part: Path, report: Report) -> None:
    """Append to the part what it lacks; from the start where the server cannot go on."""
    have = part.stat().st_size if part.exists() else 0
    report(f"Connecting to {remote.url}")
    try:
        response = _asked(remote.url, have)
    except HTTPError as error:
        if error.code != _NOT_SATISFIABLE or not have:
            raise
        error.close()
        return  # There is nothing behind what is here: the checksum tells whether it is right.
    with response:
        if response.status == _PARTIAL and _first_byte(response) != have:
            part.unlink()
            raise DataError(f"{remote.url} was sent from another place than asked; ask again")
        if response.status != _PARTIAL:
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        _refuse_size(remote, total or 0)
        with part.open("ab" if have else "wb") as stream:
            reported = 0.0
            while portion := response.read(_PORTION):
                stream.write(portion)
                have += len(portion)
                _refuse_size(remote, have)
                if time.monotonic() - reported > _REPORT_SECONDS:
                    reported = time.monotonic()
                    report(_line(remote, have, total))
    if total is not None and have < total:
        raise DataError(
            f"The connection to {remote.url} ended after {have / _MB:.1f} of {total / _MB:.1f} MB; "
            "ask again, and it goes on from there"
        )


def _asked(url: str, have: int) -> HTTPResponse:
    headers = {"User-Agent": "metaviz", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    return response


def _first_byte(response: HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _reason(error: Exception) -> str:
    """Return what the system reports, without its number."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)


def _refuse_size(remote: Remote, size: int) -> None:
    if size > MOST_BYTES:
        raise DataError(
            f"{remote.url} is larger than {MOST_BYTES / _MB:.0f} MB, which it should not be; get "
            "the file elsewhere"
        )


def _line(remote: Remote, have: int, total: int | None) -> str:
    of = f" of {total / _MB:.0f}" if total is not None else ""
    return f"Downloaded {have / _MB:.0f}{of} MB of {remote.name}"
