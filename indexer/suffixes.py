"""Which files are worth opening, by their names; apart from the reader, so that a scan imports no decoder."""

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
    ]
)
"""File-name suffixes in lower case. What a file really is, its first bytes decide."""

_SUFFIXES = tuple(sorted(suffix.encode() for suffix in SUFFIXES))


def is_photo_name(name: bytes) -> bool:
    """Whether a file of this name may be a photo."""
    return name.lower().endswith(_SUFFIXES)
