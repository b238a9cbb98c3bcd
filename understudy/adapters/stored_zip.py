"""ZIP files as plain containers: nothing compressed, and the same bytes for the same members."""

import io
import zipfile
from collections.abc import Mapping

from understudy.errors import BundleRefused

#: ZIP has no way to leave the date out; this is the earliest that it can write.
NO_DATE = (1980, 1, 1, 0, 0, 0)

#: What ends a ZIP file, 22 bytes long where no comment follows; and what stands before it in one of the 64-bit kind.
END, END_BYTES = b"PK\x05\x06", 22
START = (b"PK\x03\x04", END)
END_64, END_64_BYTES = b"PK\x06\x07", 20

MAX_DIRECTORY = 16 * 2**20
"""Bytes of a ZIP file's table of contents; one of the forest's has some 100 for each of its arrays."""


def write(members: Mapping[str, bytes]) -> bytes:
    """Pack `members` in their order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=NO_DATE)
            info.create_system = 3
            info.external_attr = 0o600 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def read(data: bytes, *, of: str, directory: int = MAX_DIRECTORY) -> dict[str, bytes]:
    """Unpack all members; `of` names the file in an error.

    Because nothing may be compressed, what comes out is never larger than what went in.

    Args:
        directory: most bytes that its table of contents may have: each entry costs memory before anything is checked.

    Raises BundleRefused for anything but a whole ZIP file of stored members with distinct names.
    """
    _check_end(data, directory, of=of)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check(members, size=len(data), of=of)
            return {member.filename: archive.read(member) for member in members}
    except BundleRefused:
        raise
    except Exception as error:
        raise BundleRefused(f"The {of} is no readable ZIP file.", remedy=REMEDY) from error


def _check_end(data: bytes, directory: int, *, of: str) -> None:
    end, before = data[-END_BYTES:], data[-END_BYTES - END_64_BYTES : -END_BYTES]
    is_plain = end.startswith(END) and end.endswith(b"\0\0") and not before.startswith(END_64)
    if not data.startswith(START) or not is_plain:
        raise BundleRefused(f"The {of} is no readable ZIP file.", remedy=REMEDY)
    if int.from_bytes(end[12:16], "little") > directory:
        raise BundleRefused(f"The {of} lists more members than it may hold.", remedy=REMEDY)


def _check(members: list[zipfile.ZipInfo], *, size: int, of: str) -> None:
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
        raise BundleRefused(f"The {of} holds compressed or encrypted members.", remedy=REMEDY)
    if sum(m.file_size for m in members) > size:
        raise BundleRefused(f"The {of} claims to hold more than its own size.", remedy=REMEDY)
    if len({m.filename for m in members}) != len(members):
        raise BundleRefused(f"The {of} holds two members of one name.", remedy=REMEDY)


REMEDY = "Make the bundle again with Understudy, and send it unchanged."
