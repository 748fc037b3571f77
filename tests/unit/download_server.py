"""A server on this machine from which tests download."""

import hashlib
import io
import pickle
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from metaviz.images.fetch import Remote
from metaviz.images.layouts import known_splits
from metaviz.problems.torchvision_shim import import_torchvision

_PATIENCE = 20


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `contents`; it may break off after some bytes, ignore Range, or answer it wrongly.

    The second half of an answer waits for `gate`, which is open unless a test closes it.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.breaks_after: int | None = None
        self.knows_ranges = True
        self.shift = 0
        self.status = 0
        self.gate = threading.Event()
        self.gate.set()

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that breaks off is what some tests are about."""

    def remote(self, name: str, data: bytes, checksum: str | None = None) -> Remote:
        self.contents[f"/{name}"] = data
        return Remote(f"{self.url}/{name}", name, checksum or md5(data))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        data = self.server.contents.get(self.path)
        if data is None or self.server.status:
            self.send_error(self.server.status or 404)
            return
        found = re.fullmatch(r"bytes=(\d+)-", asked or "")
        first = int(found[1]) if found and self.server.knows_ranges else 0
        if first and first >= len(data):
            self.send_error(416)
            return
        first -= self.server.shift if first else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        rest = data[first:][: self.server.breaks_after]
        self.wfile.write(rest[: len(rest) // 2])
        self.wfile.flush()
        self.server.gate.wait(_PATIENCE)
        self.wfile.write(rest[len(rest) // 2 :])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends."""
    with Server() as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield http
        http.gate.set()
        http.shutdown()
        thread.join()


def tarred(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """Pack files; a member whose content is text becomes a link to it."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def cifar_archive(path: Path) -> tuple[Path, dict[str, str]]:
    """Pack a CIFAR-100 of one training and one test image of each class, as it is published."""
    coarse_and_fine = known_splits()["CIFAR-FS"]
    fine = sorted(frozenset().union(*coarse_and_fine.values()))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 100, 3072), dtype=np.uint8)
    held = {
        part: pickle.dumps({b"data": data, b"fine_labels": list(range(100))}, protocol=2)
        for part, data in zip(("train", "test"), pixels, strict=True)
    }
    names = {b"fine_label_names": [name.encode() for name in fine]}
    held["meta"] = pickle.dumps(names, protocol=2)
    tarred(path, *((f"cifar-100-python/{name}", data) for name, data in held.items()))
    return path, {name: md5(data) for name, data in held.items()}


def serve_cifar100(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve a small CIFAR-100 in place of the published one."""
    archive, checksums = cifar_archive(folder / "cifar-100-python.tar.gz")
    remote = server.remote(archive.name, archive.read_bytes())
    known = import_torchvision().datasets.CIFAR100
    monkeypatch.setattr(known, "url", remote.url)
    monkeypatch.setattr(known, "tgz_md5", remote.md5)
    monkeypatch.setattr(known, "train_list", [["train", checksums["train"]]])
    monkeypatch.setattr(known, "test_list", [["test", checksums["test"]]])
    monkeypatch.setattr(known, "meta", {"filename": "meta", "md5": checksums["meta"]})
