"""Which release this is, as peers and metrics are told."""

from typing import Final

RELEASE: Final = "0.1.0"
