"""Downloads, only ever because a person asked. Addresses and checksums are torchvision's."""

from collections.abc import Callable
from pathlib import Path

from metaviz.config.options import OptionError
from metaviz.files.archives import DataError
from metaviz.files.progress import Report
from metaviz.images.fetch import Remote, fetch, holds
from metaviz.images.unpack import unpack_tar
from metaviz.paths import data_dir
from metaviz.problems.omniglot import default_folder
from metaviz.problems.torchvision_shim import import_torchvision


def download(dataset: str, report: Report) -> Path:
    """Download a data set and return its folder; what is there already is not fetched again.

    Raises: OptionError for a data set that is not known, DataError where the download fails.
    """
    if dataset not in DATASETS:
        known = ", ".join(DATASETS)
        raise OptionError("dataset", f"There is no download of {dataset!r}; known: {known}.")
    return DATASETS[dataset](report)


def _omniglot(report: Report) -> Path:
    """Fetch both archives, which are read as they are; they come to their place together."""
    known = import_torchvision().datasets.Omniglot
    folder = default_folder()
    place = folder / known.folder
    missing = [
        Remote(f"{known.download_url_prefix}/{part}.zip", f"{part}.zip", md5)
        for part, md5 in known.zips_md5.items()
        if not holds(place / f"{part}.zip", md5)
    ]
    fetched = [fetch(remote, _arriving(), report) for remote in missing]
    try:
        place.mkdir(parents=True, exist_ok=True)
        for archive in fetched:
            archive.replace(place / archive.name)
    except OSError as error:
        raise DataError(f"{place} cannot be written ({error.strerror}); check the disk") from error
    return folder


def _cifar100(report: Report) -> Path:
    """Fetch and unpack CIFAR-100, from which CIFAR-FS and FC100 are made."""
    known = import_torchvision().datasets.CIFAR100
    folder = data_dir() / "cifar100"
    meta = (known.meta["filename"], known.meta["md5"])
    files = [*known.train_list, *known.test_list, meta]
    if all(holds(folder / known.base_folder / name, md5) for name, md5 in files):
        return folder
    archive = fetch(Remote(known.url, known.filename, known.tgz_md5), _arriving(), report)
    report("Unpacking CIFAR-100")
    unpack_tar(archive, folder)
    archive.unlink(missing_ok=True)
    return folder


def _arriving() -> Path:
    """Return the folder of what has not arrived whole."""
    return data_dir() / "downloads"


DATASETS: dict[str, Callable[[Report], Path]] = {"omniglot": _omniglot, "cifar100": _cifar100}
