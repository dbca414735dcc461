"""The HTML report: one file that needs no network, made of blocks that the core and the domains fill.

A domain gives `Picture`, `Grid`, `Stops` and `Intervals`; markup and escaping are done here alone.
"""

from egflow.page._blocks import Block, Card, Grid, Intervals, Picture, Stops
from egflow.page._charts import Chart, loss_charts, rounds_charts, trend_charts
from egflow.page._drawn import Drawn
from egflow.page._render import MOST_BYTES, RunPage, render

__all__ = [
    "MOST_BYTES",
    "Block",
    "Card",
    "Chart",
    "Drawn",
    "Grid",
    "Intervals",
    "Picture",
    "RunPage",
    "Stops",
    "loss_charts",
    "render",
    "rounds_charts",
    "trend_charts",
]
