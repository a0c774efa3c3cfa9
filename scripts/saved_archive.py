"""Packs a SavedModel into an archive of fixtures/saved_models."""

import zipfile


def pack(folder, archive):
    """Packs a directory into an archive whose bytes depend on the files only."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(str(path.relative_to(folder)))
                info.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(info, path.read_bytes())
