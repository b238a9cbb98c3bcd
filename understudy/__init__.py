"""Understudy: trains the next model offstage and puts it on only when it is proven better.

Files directly in this package are pure: values in, values out. Whatever touches the world is in `adapters/`.
"""

from understudy.model import Model
from understudy.policy import Limits, Promotion
from understudy.schedule import Schedule

__version__ = "0.1.0"
__all__ = ["Limits", "Model", "Promotion", "Schedule", "__version__"]
