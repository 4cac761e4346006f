"""The synthetic benchmark: real PDFs, questions of one and two hops, gold answers, pages and boxes."""

from vrag.data.synthetic.benchmark import Manifest, SyntheticSpec, synthesize
from vrag.data.synthetic.difficulty import DIFFICULTIES, Difficulty, difficulty
from vrag.data.synthetic.validate import validate

__all__ = ["DIFFICULTIES", "Difficulty", "Manifest", "SyntheticSpec", "difficulty", "synthesize", "validate"]
