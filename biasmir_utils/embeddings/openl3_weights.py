"""OpenL3's weight file, read as numbers only.

The file is what Keras 2 wrote: one HDF5 group for each layer, at the root or under
`model_weights`, and the attribute `layer_names` with their order. Names carry numbers that
depend on what else was built in the session that saved the file, so the arrays are matched by
order, and each must have the expected shape. A configuration of the network, which may stand
in the same file and can carry code, is never looked at.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.errors import ModelError

FILE_NAME = "openl3_audio_mel256_music-v0_4_0.h5.gz"
H5_SHA256 = "624ee7b1dd5ff87e18073f66fd8b2052bebb8ac70210e9c0937c0c940c63e9d6"
FILTERS = (64, 64, 128, 128, 256, 256, 512, 512)
LARGEST = 100_000_000
"""Bytes that a weight file may have, unpacked; the official one has 19 million."""

_GZIP = b"\x1f\x8b"
_HDF5 = b"\x89HDF\r\n\x1a\n"
HOW_TO_GET = (
    f"fetch the official file with: biasmir fetch models, or get {FILE_NAME} by other means and "
    f"give it (--model FILE, or model=...); .h5 and .h5.gz will do"
)

Arrays = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Weights:
    """The arrays of a weight file, and its sums.

    Attributes
    ----------
    layers : list of lists of ndarray
        For each layer that has weights, in order: kernel and bias of a convolution; scale,
        offset, mean and variance of a batch normalisation.
    h5_sum : str
        SHA-256 of the HDF5 file, unpacked where need be: it tells which weights these are.
    file_sum : str
        SHA-256 of the file as it is on disk.
    """

    layers: list[Arrays]
    h5_sum: str
    file_sum: str

    @property
    def official(self) -> bool:
        """Whether the HDF5 file is, to the byte, what the authors of OpenL3 published."""
        return self.h5_sum == H5_SHA256


def expected_shapes() -> list[list[tuple[int, ...]]]:
    """Return the shapes of each layer's arrays, in order.

    A batch normalisation of the input, then convolutions of 3 x 3, each but the last followed
    by a batch normalisation.
    """
    shapes: list[list[tuple[int, ...]]] = [[(1,)] * 4]
    channels = 1
    for number, filters in enumerate(FILTERS):
        shapes.append([(3, 3, channels, filters), (filters,)])
        if number < len(FILTERS) - 1:
            shapes.append([(filters,)] * 4)
        channels = filters
    return shapes


def read_weights(path: Path) -> Weights:
    """Read a weight file.

    Parameters
    ----------
    path : path
        An HDF5 file, or one packed with gzip; told apart by content.

    Returns
    -------
    Weights

    Raises
    ------
    ModelError
        If the file is missing, damaged, or holds something else than this network's weights.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; {HOW_TO_GET}")
    if path.stat().st_size > LARGEST:
        raise ModelError(f"{path}: too large for a weight file of OpenL3; {HOW_TO_GET}")
    stored = path.read_bytes()
    content = _unpacked(stored, path) if stored.startswith(_GZIP) else stored
    if not content.startswith(_HDF5):
        raise ModelError(f"{path}: not an HDF5 file, nor one packed with gzip; {HOW_TO_GET}")
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            layers = _read_layers(file, path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        # What h5py raises for a file that is cut off or has garbage inside.
        raise ModelError(f"{path}: damaged HDF5 file ({error}); {HOW_TO_GET}") from error
    h5_sum, file_sum = (hashlib.sha256(data).hexdigest() for data in (content, stored))
    return Weights(layers, h5_sum, file_sum)


def _unpacked(stored: bytes, path: Path) -> bytes:
    try:
        with GzipFile(fileobj=io.BytesIO(stored)) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: damaged gzip file ({error}); {HOW_TO_GET}") from error
    if len(content) > LARGEST:
        raise ModelError(
            f"{path}: unpacks to more than {LARGEST // 10**6} MB, which OpenL3's weights do not; "
            f"{HOW_TO_GET}"
        )
    return content


def _read_layers(file: Any, path: Path) -> list[Arrays]:
    """Return the arrays of all layers that have some, each checked against its shape."""
    place = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        place = _member(file, "model_weights", path)
    found = []
    for name in _names(place, "layer_names", path):
        group = _member(place, name, path)
        if names := _names(group, "weight_names", path):
            found.append((name, [_member(group, weight, path) for weight in names]))
    expected = expected_shapes()
    if len(found) != len(expected):
        raise ModelError(
            f"{path}: expected {len(expected)} layers with weights, found {len(found)}; "
            f"{HOW_TO_GET}"
        )
    layers = []
    for number, ((name, datasets), shapes) in enumerate(zip(found, expected, strict=True), 1):
        where = f"{path}: layer {number} of {len(expected)} with weights, {name!r}"
        if [getattr(dataset, "shape", None) for dataset in datasets] != shapes:
            shown = [getattr(dataset, "shape", "a group") for dataset in datasets]
            raise ModelError(f"{where}: expected arrays of {shapes}, found {shown}; {HOW_TO_GET}")
        layers.append([_array(dataset, where) for dataset in datasets])
        if len(shapes) == 4 and (layers[-1][3] < 0).any():
            raise ModelError(f"{where}: has a variance below zero; {HOW_TO_GET}")
    return layers


def _names(group: Any, attribute: str, path: Path) -> list[str]:
    """Return a list of names that Keras wrote as an attribute."""
    if attribute not in group.attrs:
        raise ModelError(
            f"{path}: {group.name!r} lacks the attribute {attribute!r}, so the order of its "
            f"parts is unknown; it is no weight file of Keras 2; {HOW_TO_GET}"
        )
    names = np.ravel(group.attrs[attribute]).tolist()
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _member(group: Any, name: str, path: Path) -> Any:
    """Return a group or dataset that lies in this file; links to other files are refused."""
    import h5py

    member = group
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ModelError(f"{path}: {group.name!r} lacks {name!r}; {HOW_TO_GET}")
        member = member[part]
    return member


def _array(dataset: Any, where: str) -> NDArray[np.float32]:
    if dataset.dtype.kind != "f":
        raise ModelError(f"{where}: expected floats, found {dataset.dtype}; {HOW_TO_GET}")
    if dataset.external or dataset.is_virtual:
        raise ModelError(f"{where}: its numbers lie in another file; {HOW_TO_GET}")
    array = dataset[()].astype(np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"{where}: holds NaN or infinite weights; {HOW_TO_GET}")
    return array
