"""A process that tries a version that takes for ever: `python -m tests.faults.trier`."""

from tests.bundles import by_hand, toiling
from understudy.adapters.trial import TrialLimits, try_bundle
from understudy.fingerprint import digest_of

if __name__ == "__main__":
    data = by_hand({"model.onnx": toiling()})
    try_bundle(data, digest=digest_of(data), trees=False, limits=TrialLimits(cpu_s=10))
