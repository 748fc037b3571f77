"""Downloads from a server on this machine: gone on with, checked, refused, broken off."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from metaviz.config.options import OptionError
from metaviz.files.archives import DataError
from metaviz.images import fetch as fetching
from metaviz.images import unpack as unpacking
from metaviz.images.cache import open_images
from metaviz.images.fetch import Remote, fetch
from metaviz.images.unpack import unpack_tar
from metaviz.paths import data_dir
from metaviz.problems.downloads import download
from metaviz.problems.omniglot_files import read_omniglot
from metaviz.problems.torchvision_shim import import_torchvision
from tests.unit.download_server import Server, md5, serve_cifar100, serving, tarred
from tests.unit.test_omniglot_files import NAMES, check_small_omniglot, files, pack

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as http:
        yield http


def quiet(_line: str) -> None:
    pass


def test_file_arrives_whole_and_reports(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    path = fetch(server.remote("a.zip", CONTENT), tmp_path / "new", lines.append)
    assert path == tmp_path / "new" / "a.zip"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["a.zip"]
    assert lines[0].startswith("Connecting to http://127.0.0.1")
    assert re.fullmatch(r"Downloaded \d+ of 0 MB of a.zip", lines[1])
    assert lines[-1] == "Checking a.zip"


def test_interrupted_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    remote = server.remote("a.zip", CONTENT)
    server.breaks_after = 100_000
    with pytest.raises(DataError, match=r"ended after 0.1 of 0.3 MB; ask again, and it goes on"):
        fetch(remote, tmp_path, quiet)
    assert not (tmp_path / "a.zip").exists()
    server.breaks_after = None
    assert fetch(remote, tmp_path, quiet).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_cancelled_download_keeps_its_part(server: Server, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("Downloaded"):
            raise InterruptedError("Cancelled.")

    remote = server.remote("a.zip", CONTENT)
    with pytest.raises(InterruptedError):
        fetch(remote, tmp_path, stop)
    (part,) = tmp_path.iterdir()
    assert part.name == "a.zip.part"
    assert CONTENT.startswith(part.read_bytes())
    size = part.stat().st_size
    assert size > 0
    assert fetch(remote, tmp_path, quiet).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={size}-"


def test_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    remote = server.remote("a.zip", CONTENT)
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    server.knows_ranges = False
    assert fetch(remote, tmp_path, quiet).read_bytes() == CONTENT


def test_part_that_is_all_there_is_only_checked(server: Server, tmp_path: Path) -> None:
    remote = server.remote("a.zip", CONTENT)
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert fetch(remote, tmp_path, quiet).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    remote = server.remote("a.zip", CONTENT)
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert fetch(remote, tmp_path, quiet) == tmp_path / "a.zip"
    assert server.ranges == []


@pytest.mark.parametrize("begun", [b"", b"another file", CONTENT + b"more"])
def test_wrong_checksum_is_refused_and_removed(
    server: Server, tmp_path: Path, begun: bytes
) -> None:
    remote = server.remote("a.zip", CONTENT, md5(b"what was published") if not begun else None)
    if begun:
        (tmp_path / "a.zip.part").write_bytes(begun)
    with pytest.raises(DataError, match="does not have the published content"):
        fetch(remote, tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_answer_from_another_place_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    server.shift = 10
    with pytest.raises(DataError, match="from another place than asked"):
        fetch(server.remote("a.zip", CONTENT), tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_too_large_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match="is larger than 0 MB"):
        fetch(server.remote("a.zip", CONTENT), tmp_path, quiet)


@pytest.mark.parametrize(("status", "said"), [(0, "404 Not Found"), (503, "503 Service Unav")])
def test_answer_of_the_server_is_told(
    server: Server, tmp_path: Path, status: int, said: str
) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"the server answers {said}"):
        fetch(Remote(f"{server.url}/nothing", "a.zip", ""), tmp_path, quiet)


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(DataError, match=r"\(Connection refused\); check the network") as caught:
        fetch(Remote(f"{url}/a.zip", "a.zip", ""), tmp_path, quiet)
    assert "\n" not in str(caught.value)


def test_folder_that_cannot_be_made_is_one_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="check the network and the disk"):
        fetch(server.remote("a.zip", CONTENT), tmp_path / "file" / "below", quiet)


# Unpacking


def test_archive_is_unpacked_in_place_of_what_was_there(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", ("one/x", b"1"), ("one/two/y", b"22"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_bytes(b"")
    unpack_tar(archive, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert found == {"one", "one/x", "one/two", "one/two/y"}
    assert (tmp_path / "out/one/two/y").read_bytes() == b"22"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../evil", b"")], "leads out of its folder, '../evil'"),
        ([("/etc/evil", b"")], "leads out of its folder, '/etc/evil'"),
        ([("a/..\\evil", b"")], "leads out of its folder"),
        ([("C:evil", b"")], "leads out of its folder"),
        ([("a/link", "/etc/passwd"), ("a/link", b"x")], "has a link or a device, 'a/link'"),
        ([("a/x", b"x" * 2000)], "would unpack to more than"),
    ],
)
def test_hostile_archive_is_refused_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[tuple[str, bytes | str]],
    said: str,
) -> None:
    monkeypatch.setattr(unpacking, "MOST_UNPACKED", 1000)
    archive = tarred(tmp_path / "a.tar.gz", ("harmless", b"1"), *members)
    with pytest.raises(DataError, match=re.escape(said)):
        unpack_tar(archive, tmp_path / "below" / "out")
    assert list((tmp_path / "below").iterdir()) == []


@pytest.mark.parametrize(
    "spoil", [lambda data: data[: len(data) // 2], lambda _data: b"no archive at all"]
)
def test_damaged_archive_is_one_sentence(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    archive = tarred(tmp_path / "a.tar.gz", ("x", CONTENT))
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(DataError, match="download"):
        unpack_tar(archive, tmp_path / "below" / "out")
    assert list((tmp_path / "below").iterdir()) == []


# The data sets


def serve_omniglot(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksums = {}
    for part, names in (("background", NAMES[:2]), ("evaluation", NAMES[2:])):
        name = f"images_{part}"
        data = pack(tmp_path / "packed" / f"{name}.zip", files(f"{name}/", names)).read_bytes()
        checksums[name] = server.remote(f"{name}.zip", data).md5
    known = import_torchvision().datasets.Omniglot
    monkeypatch.setattr(known, "download_url_prefix", server.url)
    monkeypatch.setattr(known, "zips_md5", checksums)


def test_omniglot_is_fetched_and_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_omniglot(server, tmp_path, monkeypatch)
    folder = download("omniglot", quiet)
    check_small_omniglot(read_omniglot(folder), "torchvision")
    assert list((data_dir() / "downloads").iterdir()) == []
    download("omniglot", quiet)
    assert len(server.ranges) == 2


def test_half_of_omniglot_is_not_taken_for_all_of_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_omniglot(server, tmp_path, monkeypatch)
    del server.contents["/images_evaluation.zip"]
    with pytest.raises(DataError, match=r"images_evaluation\.zip cannot be downloaded"):
        download("omniglot", quiet)
    assert not (data_dir() / "data").exists()


@pytest.mark.parametrize("split", ["CIFAR-FS", "FC100"])
def test_cifar100_is_fetched_unpacked_and_recognised(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    serve_cifar100(server, tmp_path, monkeypatch)
    folder = download("cifar100", quiet)
    data = open_images(folder, tmp_path / "cache", cifar=split)
    assert (data.dataset, data.layout, data.side) == (split, "CIFAR-100 (Python)", 32)
    assert sum(len(part.names) for part in data.splits.values()) == 100
    assert list((data_dir() / "downloads").iterdir()) == []
    download("cifar100", quiet)
    assert len(server.ranges) == 1
    (folder / "cifar-100-python" / "test").write_bytes(b"damaged")
    download("cifar100", quiet)
    assert len(server.ranges) == 2


def test_published_addresses_and_checksums_are_those_that_torchvision_knows() -> None:
    known = import_torchvision().datasets
    assert known.CIFAR100.url == "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    assert known.CIFAR100.tgz_md5 == "eb9058c3a382ffc7106e4002c42a8d85"
    assert known.Omniglot.download_url_prefix.startswith("https://raw.githubusercontent.com/")


def test_unknown_data_set_is_refused() -> None:
    with pytest.raises(OptionError, match="no download of 'mnist'; known: omniglot, cifar100"):
        download("mnist", quiet)
