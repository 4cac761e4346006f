"""The words of the benchmark's world.

Metrics, sites and categories are shared by all splits; names of organisations are not. No metric is also
a topic, a suffix of a name or a word of the filler text, so that a page's words say what stands on it.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "heldout"]
Grammar = Literal["amount", "sums", "count"]  # "What is the profit", "What are the costs", "How many orders"


@dataclass(frozen=True)
class Topic:
    """A subject of a page. `unit` is what its amounts are printed in where a page prints units."""

    name: str
    unit: str
    metrics: tuple[str, ...]


TOPICS: tuple[Topic, ...] = (
    Topic("Finance", "m", ("Revenue", "Costs", "Profit", "Debt", "Cash", "Taxes", "Equity")),
    Topic("People", "%", ("Headcount", "Hires", "Leavers", "Interns", "Trainees", "Wages")),
    Topic("Energy", "GWh", ("Power", "Gas", "Steam", "Solar", "Diesel", "Biomass")),
    Topic("Logistics", "kt", ("Trucks", "Pallets", "Routes", "Parcels", "Drivers", "Freight")),
    Topic("Sales", "k", ("Orders", "Returns", "Quotes", "Leads", "Discounts", "Bookings")),
    Topic("Safety", "%", ("Injuries", "Audits", "Alarms", "Drills", "Hazards", "Fines")),
    Topic("Support", "h", ("Tickets", "Calls", "Refunds", "Chats", "Visits", "Repairs")),
    Topic("Research", "m", ("Patents", "Trials", "Papers", "Grants", "Samples", "Models")),
    Topic("Quality", "%", ("Defects", "Scrap", "Rework", "Claims", "Checks", "Recalls")),
)
OPERATIONS = Topic("Operations", "kt", ("Output", "Capacity", "Shifts", "Machines", "Uptime", "Stock", "Waste"))

AMOUNTS = {
    *("Revenue", "Profit", "Debt", "Cash", "Equity", "Headcount", "Power", "Gas", "Steam", "Solar", "Diesel"),
    *("Biomass", "Freight", "Scrap", "Rework", "Output", "Capacity", "Uptime", "Stock", "Waste"),
}
SUMS = {"Costs", "Taxes", "Wages", "Fines", "Discounts", "Grants", "Refunds"}

SITES_TOPIC = "Sites"
SITES: tuple[str, ...] = ("Plant", "Depot", "Port", "Farm", "Mill", "Store")
CODE_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"  # without I, O and Q, which look like digits

CATEGORIES: dict[str, tuple[str, ...]] = {
    "year": ("2019", "2020", "2021", "2022", "2023", "2024"),
    "quarter": ("Q1", "Q2", "Q3", "Q4"),
    "region": ("North", "South", "East", "West", "Central"),
}

SUFFIXES: tuple[str, ...] = (
    *("Group", "Labs", "Works", "Trust", "Union"),
    *("Partners", "Systems", "Holding", "Studio", "Alliance"),
)

# Small print. {e} is whose page it is, {m} one of its metrics ("refunds", "the plant"), {all} all of them.
NOTES: tuple[str, ...] = (
    "{e}: {all}, as reported to the board.",
    "Source: {e}, own count of {all}.",
    "This page of {e} covers {all}.",
    "{e} publishes {all} in this document.",
)
FILLER: tuple[str, ...] = (
    "{e} counts {m} as agreed with the board.",
    "The overview of {m} covers every branch of {e}.",
    "{e} restated {m} where the scope changed.",
    "Compared with the plan {e} did well on {m}.",
    "More detail on {m} of {e} is given in the annex.",
    "Weather and holidays explain most of the change in {m}.",
    "At {e} the outlook for {m} remains stable.",
    "A new method of counting {m} applies from this edition.",
    "{e} will report on {m} again after the summer.",
    "The auditor of {e} took note of {m}.",
    "For {m} the last known state is shown where data were late.",
    "{e} compares {m} with the plan every month.",
    "All numbers of {e} follow the rules of the handbook.",
    "Definitions are the same for every unit of {e}.",
    "Preliminary and subject to review by the auditor.",
    "The steering committee of {e} discussed {m}.",
    "Small differences can come from the moment of counting.",
    "{e} did not adjust {m} for inflation.",
    "Each unit of {e} signed off its own part before printing.",
    "Questions about {m} are welcome at any time.",
    "The next edition of {e} will look further back.",
)


_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("l", "n", "r", "s", "t", "m")


def grammar(metric: str) -> Grammar:
    """How one asks for `metric` in a sentence."""
    if metric in AMOUNTS:
        return "amount"
    return "sums" if metric in SUMS else "count"


def split_of(word: str) -> Split:
    """The split that owns an invented word: by its own checksum, a quarter of all words is held out."""
    return "heldout" if zlib.crc32(word.lower().encode()) % 4 == 0 else "train"


def invent_word(rng: random.Random, split: Split) -> str:
    """An invented name such as "Varelo" or "Mitra" that belongs to `split`."""
    while True:
        first = rng.choice(_ONSETS) + rng.choice(_VOWELS)
        last = rng.choice(_ONSETS) + rng.choice(_VOWELS)
        middle = rng.choice(_CODAS) if rng.random() < 0.4 else rng.choice(_ONSETS) + rng.choice(_VOWELS)
        word = (first + middle + last).capitalize()
        if split_of(word) == split:
            return word
