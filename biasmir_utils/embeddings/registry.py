"""The embeddings by name; each one's module is imported only when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from biasmir_utils.embeddings.base import Embedding
from biasmir_utils.errors import ArgumentError, did_you_mean

_PACKAGE = "biasmir_utils.embeddings"


@dataclass(frozen=True)
class Entry:
    """Where an embedding's class is, and what its constructor takes.

    Attributes
    ----------
    module : str
        The module in this package.
    factory : str
        The class or function in it.
    summary : str
        One line for people.
    takes_model : bool
        Whether a local model can be given (`model`).
    downloads : bool
        Whether its weights can be downloaded (`download`).
    takes_hop : bool
        Whether the hop can be chosen (`hop`).
    network : bool
        Whether there is a network behind the front end.
    """

    module: str
    factory: str
    summary: str
    takes_model: bool = True
    downloads: bool = False
    takes_hop: bool = False
    network: bool = True


_ENTRIES: dict[str, Entry] = {
    "yamnet": Entry("tfhub", "Yamnet", "YAMNet (AudioSet), 1024-d every 0.48 s", downloads=True),
    "vggish": Entry("tfhub", "Vggish", "VGGish (YouTube-8M), 128-d every 0.96 s", downloads=True),
    "openl3": Entry(
        "openl3",
        "load_openl3",
        "OpenL3 (music, mel256), 512-d every 0.5 s",
        downloads=True,
        takes_hop=True,
    ),
    "musicnn": Entry("musicnn", "Musicnn", "MSD_musicnn, mean over time, 753-d every 3 s"),
    "musicnn_penultimate": Entry(
        "musicnn", "MusicnnPenultimate", "MSD_musicnn, last hidden layer, 200-d every 3 s"
    ),
    "mtt_musicnn": Entry("musicnn", "MttMusicnn", "MTT_musicnn, mean over time, 753-d every 3 s"),
    "msd_vgg": Entry("musicnn", "MsdVgg", "MSD_vgg, last pooling layer, 256-d every 3 s"),
    "mfcc": Entry(
        "mfcc",
        "Mfcc",
        "MFCC, mean and standard deviation, 80-d a clip",
        takes_model=False,
        network=False,
    ),
}


def available() -> dict[str, str]:
    """Return the names that `load` knows, each with one line on what it is."""
    return {name: entry.summary for name, entry in _ENTRIES.items()}


def has_network(name: str) -> bool:
    """Tell whether an embedding of `available()` has a network behind its front end."""
    return _ENTRIES[name].network


def load(
    name: str,
    model: str | Path | None = None,
    download: bool = False,
    hop: float | None = None,
) -> Embedding:
    """Load an embedding by name.

    Parameters
    ----------
    name : str
        One of `available()`.
    model : str or path, optional
        A local model (folder or file), or an address, instead of the default one. For openl3
        also ``"openl3-package"``: the authors' own package, where it is installed (the extra
        ``openl3``, Python 3.11 and earlier), to compare the two.
    download : bool
        Whether weights that are not on this machine may be downloaded; never without it.
    hop : float, optional
        Seconds from one frame to the next, for an embedding where it can be chosen (openl3).

    Returns
    -------
    Embedding

    Raises
    ------
    ArgumentError
        If the name is unknown, or the embedding takes no model or no hop.
    ModelError
        If the weights, or a package that it needs, are missing.
    DownloadError
        If a download was allowed and failed.
    """
    if name not in _ENTRIES:
        raise ArgumentError(
            f"unknown embedding {name!r}; expected one of {', '.join(_ENTRIES)}."
            f"{did_you_mean(name, _ENTRIES)}"
        )
    entry = _ENTRIES[name]
    arguments: dict[str, object] = {}
    if model is not None:
        if not entry.takes_model:
            raise ArgumentError(f"embedding {name!r} takes no model, found {str(model)!r}")
        arguments["model"] = model
    if entry.downloads:
        arguments["download"] = download
    if hop is not None:
        if not entry.takes_hop:
            raise ArgumentError(f"embedding {name!r} has a hop of its own, found hop={hop!r}")
        arguments["hop"] = hop
    factory = getattr(import_module(f"{_PACKAGE}.{entry.module}"), entry.factory)
    return factory(**arguments)
