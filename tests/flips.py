"""One bit of a bundle flipped, many times over: who finds it, where the digest was recomputed as a forger would.

    .venv/bin/python -m tests.flips --flips 400

That the recorded digest finds every flip is owed, and tested. This tells what would be found without it, each flip in
a process of its own under the limits of a trial: for information, and as the reason why the digest comes first.
"""

import argparse
import json
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.bundles import Made, made
from understudy.adapters import bundle, frames, onnx_check, skops_form, stored_zip
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused
from understudy.fingerprint import digest_of

CPU_S = 10
MEMORY = 4 * 2**30
STAGES = ("container", "checks", "load", "golden rows", "passes, answers alike", "passes, answers otherwise")
"""Who refuses; a child's exit code is the place in this list."""


def flipped(data: bytes, bit: int) -> bytes:
    byte = bit // 8
    return data[:byte] + bytes([data[byte] ^ 1 << bit % 8]) + data[byte + 1 :]


def flips_of(member: bytes, count: int, seed: str) -> Iterator[int]:
    """Bits of a member, drawn by a seed, none twice while there are enough."""
    bits = 8 * len(member)
    yield from random.Random(seed).sample(range(bits), min(count, bits))


def found_in(data: bytes, name: str) -> bytes:
    return stored_zip.read(data, of="bundle")[name]


def place_of(data: bytes, name: str) -> int:
    """Where a member begins in the bundle: nothing in it is compressed."""
    return data.index(found_in(data, name))


def renamed(data: bytes, name: str, bit: int) -> bytes:
    """Only the bundle's own digest is recomputed, and the container's checksums."""
    members = stored_zip.read(data, of="bundle")
    return stored_zip.write({**members, name: flipped(members[name], bit)})


def forged(data: bytes, name: str, bit: int) -> bytes:
    """The digests that the manifest names are recomputed as well."""
    members = stored_zip.read(data, of="bundle")
    members[name] = flipped(members[name], bit)
    if name != bundle.MANIFEST:
        manifest = json.loads(members[bundle.MANIFEST])
        manifest["members"][name] = digest_of(members[name])
        members[bundle.MANIFEST] = json.dumps(manifest).encode()
    return stored_zip.write(members)


def stage_of(data: bytes, original: Runtime, rows: Sequence[Sequence[object]]) -> int:
    """Which of the stages of a trial refuses a bundle under its own digest; else how it answers beside the original."""
    stage = 0
    try:
        parts = bundle.unpack(data, digest=digest_of(data))
        stage = 1
        if bundle.ONNX in parts.forms:
            onnx_check.check_onnx(parts.forms[bundle.ONNX])
        if bundle.SKOPS in parts.forms:
            skops_form.check(parts.forms[bundle.SKOPS], trees=True)
        stage = 2
        runtime = open_bundle(data, digest=digest_of(data), trees=True)
        stage = 3
        runtime.check_golden()
        answers = [one.predict(rows) for one in (runtime, original)]  # type: ignore[arg-type]  # rows of a frame
    except BundleRefused:
        return stage
    return 4 if answers[0] == answers[1] else 5


def in_child(work: Callable[[], int]) -> str:
    """Run `work` in a fork of this process under limits; the stage that it returns, or what ended it."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os._exit(work())
        except BaseException:  # noqa: BLE001 - whatever it is, it is one of the outcomes that are counted
            os._exit(len(STAGES))
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"signal {-ended}" if ended < 0 else (*STAGES, "another error")[ended]


def survey(one: Made, name: str, flips: int) -> Mapping[str, Counter[str]]:
    """Form of forgery -> who refuses, over so many flips of one member."""
    rows, original = frames.rows_of(one.holdout), one.open()
    found = {"digest of the bundle recomputed": Counter[str](), "and those in the manifest": Counter[str]()}
    for bit in flips_of(found_in(one.data, name), flips, name):
        for forge, counts in zip((renamed, forged), found.values(), strict=True):
            data = forge(one.data, name, bit)
            counts[in_child(lambda data=data: stage_of(data, original, rows))] += 1  # type: ignore[misc]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--flips", type=int, default=400)
    options.add_argument("--recipe", default="forest")
    given = options.parse_args()
    one = made(given.recipe)
    for name in bundle.MEMBERS:
        for form, counts in survey(one, name, given.flips).items():
            said = ", ".join(f"{counts[stage]} {stage}" for stage in sorted(counts))
            sys.stdout.write(f"{name}, {form}: {said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
