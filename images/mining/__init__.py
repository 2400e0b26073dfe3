"""The mining core: which pictures are most worth labelling, and why. Needs numpy alone; images carry it inside their ``app/``.

An image fills a ``Pool`` with what its model says of the candidates and calls ``select``; what comes back is a ranking with a score and the
reasons of each pick. Imports nothing but itself and numpy, so that it runs in any image and in tests.
"""

from mining.boxes import Boxes
from mining.errors import MiningError
from mining.pool import Labelled, Pool
from mining.selecting import STRATEGIES, select
from mining.selection import Pick, Selection
from mining.strategy import Parameter, Strategy
from mining.stream import Stream

__all__ = ["STRATEGIES", "Boxes", "Labelled", "MiningError", "Parameter", "Pick", "Pool", "Selection", "Strategy", "Stream", "select"]
