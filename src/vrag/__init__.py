"""vrag: a vision-language agent that searches, zooms and answers over visually rich documents, and learns to."""

__version__ = "0.1.0"
