"""Rounds past the data: the pool of weighted proposals, the pace, the words that stop a run, the loop."""

from egflow.rounds._loop import MOST_ROUNDS, Begin, Outcome, Rules, Steps, record, run_rounds
from egflow.rounds._modes import Lost, lost_mode
from egflow.rounds._pace import fraction, next_beta
from egflow.rounds._pool import Editor, Pool, Rows
from egflow.rounds._proposals import Proposals, arranged, effective, mixing, pool_log_w, split_parts
from egflow.rounds._store import Store
from egflow.rounds._tail import LIMIT, Tail

__all__ = [
    "LIMIT",
    "MOST_ROUNDS",
    "Begin",
    "Editor",
    "Lost",
    "Outcome",
    "Pool",
    "Proposals",
    "Rows",
    "Rules",
    "Steps",
    "Store",
    "Tail",
    "arranged",
    "effective",
    "fraction",
    "lost_mode",
    "mixing",
    "next_beta",
    "pool_log_w",
    "record",
    "run_rounds",
    "split_parts",
]
