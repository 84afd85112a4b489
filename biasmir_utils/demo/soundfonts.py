"""Where the General MIDI SoundFonts are, and what to install where one is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from biasmir_utils.errors import BiasMIRError

FOLDER_VARIABLE = "BIASMIR_SOUNDFONTS"
"""Environment variable: a folder to look for SoundFonts in, before the system's own."""

SYSTEM_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")
"""Where Linux distributions install SoundFonts."""


class SoundFontError(BiasMIRError):
    """A SoundFont is missing, or is not one."""


@dataclass(frozen=True)
class SoundFontInfo:
    """A SoundFont under a permissive licence.

    Attributes
    ----------
    file : str
        File name.
    package : str
        Debian package that has it.
    licence : str
    attribution : str
        The names to be named.
    url : str
        Home page.
    """

    file: str
    package: str
    licence: str
    attribution: str
    url: str


SOUNDFONTS: dict[str, SoundFontInfo] = {
    "FluidR3_GM": SoundFontInfo(
        file="FluidR3_GM.sf2",
        package="fluid-soundfont-gm",
        licence="MIT",
        attribution="Fluid (R3) General MIDI SoundFont, (c) 2000-2002, 2008 Frank Wen",
        url="https://packages.debian.org/fluid-soundfont-gm",
    ),
    "MuseScore_General_Lite": SoundFontInfo(
        file="MuseScore_General_Lite.sf3",
        package="musescore-general-soundfont-small",
        licence="MIT",
        attribution=(
            "MuseScore_General SoundFont, (c) 2018-2021 S. Christian Collins, after Fluid (R3) "
            "Mono, (c) 2014-2017 Michael Cowgill, and Fluid (R3), (c) 2000-2002, 2008 Frank Wen; "
            "parts CC0 or public domain"
        ),
        url="https://packages.debian.org/musescore-general-soundfont-small",
    ),
}
"""The SoundFonts in use."""


def find_soundfont(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Find a SoundFont on this machine.

    Parameters
    ----------
    name : str
        Name in :data:`SOUNDFONTS`.
    folder : path, optional
        Folder to search, with its subfolders, and nothing else. Without it, the folder that the
        environment variable ``BIASMIR_SOUNDFONTS`` names, then the system's folders.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SoundFontError
        Where it is not there: the message says what to install.
    """
    info = SOUNDFONTS[name]
    folders = [Path(folder)] if folder is not None else _default_folders()
    for candidate in folders:
        for path in sorted(candidate.rglob(info.file)):
            if path.is_file():
                return path
    searched = ", ".join(str(candidate) for candidate in folders)
    raise SoundFontError(
        f"SoundFont {info.file} not found in {searched}. On Debian or Ubuntu install it with "
        f"'sudo apt-get install {info.package}'; without root 'apt-get download {info.package}' "
        f"and 'dpkg-deb -x {info.package}_*.deb soundfonts' unpack it, and "
        f"'--soundfonts soundfonts' or {FOLDER_VARIABLE}=soundfonts says where it is."
    )


def find_soundfonts(
    names: Iterable[str] = tuple(SOUNDFONTS), folder: str | os.PathLike[str] | None = None
) -> dict[str, Path]:
    """Find several SoundFonts, see :func:`find_soundfont`."""
    return {name: find_soundfont(name, folder) for name in dict.fromkeys(names)}


def _default_folders() -> list[Path]:
    named = os.environ.get(FOLDER_VARIABLE)
    return [Path(folder) for folder in ((named,) if named else ()) + SYSTEM_FOLDERS]
