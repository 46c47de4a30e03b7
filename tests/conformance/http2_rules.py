"""RFC 9113, 7541 and 8441: each MUST that a proxy can break, in our words, with the error at its level and its proof.

A rule names rows of the tables (`http2_frames`, `http2_blocks`, `http2_messages`), by patterns, or tests that stand
alone. `test_http2_rules.py` holds the rules to the tables: level and code of each row are its rule's, and each row
belongs to one rule.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.http2_frame_rules import FRAME_RULES
from tests.conformance.http2_message_rules import MESSAGE_RULES
from tests.conformance.http2_rule import Rule

RULES: Final[tuple[Rule, ...]] = (*FRAME_RULES, *MESSAGE_RULES)
