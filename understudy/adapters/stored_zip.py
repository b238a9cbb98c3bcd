"""ZIP files as plain containers: nothing compressed, and the same bytes for the same members."""

import io
import zipfile
from collections.abc import Mapping

from understudy.errors import BundleRefused

#: ZIP has no way to leave the date out; this is the earliest that it can write.
NO_DATE = (1980, 1, 1, 0, 0, 0)


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


def read(data: bytes, *, of: str) -> dict[str, bytes]:
    """Unpack all members; `of` names the file in an error.

    Because nothing may be compressed, what comes out is never larger than what went in.

    Raises BundleRefused for anything but a whole ZIP file of stored members with distinct names.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check(members, size=len(data), of=of)
            return {member.filename: archive.read(member) for member in members}
    except BundleRefused:
        raise
    except Exception as error:
        raise BundleRefused(f"The {of} is no readable ZIP file.", remedy=REMEDY) from error


def _check(members: list[zipfile.ZipInfo], *, size: int, of: str) -> None:
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
        raise BundleRefused(f"The {of} holds compressed or encrypted members.", remedy=REMEDY)
    if sum(m.file_size for m in members) > size:
        raise BundleRefused(f"The {of} claims to hold more than its own size.", remedy=REMEDY)
    if len({m.filename for m in members}) != len(members):
        raise BundleRefused(f"The {of} holds two members of one name.", remedy=REMEDY)


REMEDY = "Make the bundle again with Understudy, and send it unchanged."
