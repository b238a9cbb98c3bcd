"""The world: everything here opens, reads, writes, sends or starts something for the core."""

import os

# ONNX Runtime sends what it does to its makers, and leaves an id in the home folder, unless told not to before its
# first use. Every process of ours, and every child, comes through here before it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
