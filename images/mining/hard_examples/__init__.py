"""ModelArts' hard-example operator over arrays: which of many pictures a model got wrong, how surely, and for which of 31 reasons.

Fill a ``Question`` with what is known (predictions alone do), call ``find_hard_examples`` with ``Parameters`` and get an ``Answer``: a coefficient
in [0, 1], reasons with a text and a suggestion, and the hardness of each box. Needs numpy; only ``views``, ``pictures`` and ``output`` touch
picture files.
"""

from mining.hard_examples.answer import Answer, BoxRow, Row
from mining.hard_examples.combine import find_hard_examples
from mining.hard_examples.parameters import ParameterError, Parameters
from mining.hard_examples.question import Question, Training
from mining.hard_examples.reasons import REASONS, Reason

__all__ = ["REASONS", "Answer", "BoxRow", "ParameterError", "Parameters", "Question", "Reason", "Row", "Training", "find_hard_examples"]
