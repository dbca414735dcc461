"""A controller for PointMaze that wanders: from goal to goal of its own, along the shortest way, cell by cell.

Most of its goals are not the one the episode rewards, so no episode shows the whole task, and a policy has to stitch
pieces of several together (as D4RL's maze2d data, arXiv 2004.07219, section 5).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from egflow_offline_rl.making._collect import Begin, Controller

if TYPE_CHECKING:
    import gymnasium as gym

Cell = tuple[int, int]
# (uniform actions, straight to the rewarded goal without noise): means of 96 episodes with gymnasium-robotics 1.4.2.
# D4RL's own numbers are for one fixed goal; here start and goal are drawn anew for every episode.
REFERENCES = {"PointMaze_UMaze-v3": (14.5, 249.2), "PointMaze_Medium-v3": (7.1, 506.9)}
OWN_GOALS, NOISE = 0.75, 0.3  # of the data that make_data makes
_REACHED = 0.45  # the environment's own distance of success, in cells


def waypoints(own_goals: float, noise: float) -> Begin:
    """A wave's controllers.

    Args:
        own_goals: share of the goals that are cells of its own choice; the others are the rewarded goal.
        noise: standard deviation added to the actions, which are in [-1, 1].
    """

    def begin(environments: list[gym.Env], random: np.random.Generator) -> Controller:
        walkers = [_Walker(environment, own_goals, random) for environment in environments]

        def act(observations: list[Any]) -> np.ndarray:
            wanted = np.array([walker.act(seen) for walker, seen in zip(walkers, observations, strict=True)])
            return np.clip(wanted + noise * random.standard_normal(wanted.shape), -1.0, 1.0).astype(np.float32)

        return act

    return begin


class _Walker:
    """One environment's way: a goal, kept until it is reached."""

    def __init__(self, environment: gym.Env, own_goals: float, random: np.random.Generator) -> None:
        self._maze: Any = environment.unwrapped.maze  # pyright: ignore[reportAttributeAccessIssue]  (a maze's own)
        self._own_goals, self._random, self._goal = own_goals, random, None
        self._free = [
            (row, column)
            for row, line in enumerate(self._maze.maze_map)
            for column, kind in enumerate(line)
            if kind != 1
        ]

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """(2,) force towards the next cell's middle, damped by the speed."""
        here, speed = observation["observation"][:2], observation["observation"][2:]
        if self._goal is None or np.linalg.norm(self._goal - here) <= _REACHED:
            self._goal = self._choose(observation["desired_goal"])
        start, end = self._cell(here), self._cell(self._goal)
        following = next_cell(self._free, start, end)
        target = self._goal if following == end else self._maze.cell_rowcol_to_xy(np.array(following))
        return np.clip(10.0 * (target - here) - speed, -1.0, 1.0)

    def _choose(self, rewarded: np.ndarray) -> np.ndarray:
        if self._random.random() >= self._own_goals:
            return rewarded
        cell = self._free[int(self._random.integers(len(self._free)))]
        return self._maze.cell_rowcol_to_xy(np.array(cell)) + self._random.uniform(-0.25, 0.25, 2)

    def _cell(self, position: np.ndarray) -> Cell:
        row, column = self._maze.cell_xy_to_rowcol(position)
        return int(row), int(column)


def next_cell(free: list[Cell], start: Cell, end: Cell) -> Cell:
    """The cell after `start` on a shortest way to `end`; `end` itself where there is none.

    >>> next_cell([(0, 0), (0, 1), (1, 1)], (0, 0), (1, 1))
    (0, 1)
    """
    came_from, queue = {end: end}, deque([end])
    while queue and start not in came_from:
        cell = queue.popleft()
        for row, column in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            beside = (cell[0] + row, cell[1] + column)
            if beside in free and beside not in came_from:
                came_from[beside] = cell
                queue.append(beside)
    return came_from.get(start, end)
