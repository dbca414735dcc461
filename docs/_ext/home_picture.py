"""The picture of the home page, light and dark, from a run of the toy domain.

python -m egflow.train run_dir=runs/readme && python docs/_ext/home_picture.py runs/readme
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from egflow.cli._folder import load_settings

FOLDER = Path(__file__).resolve().parents[1] / "figures"
# sequential, monotone in lightness; each begins at the colour of its page, so that an empty plane has no edge
SCHEMES = {
    "light": ("#ffffff", ["#ffffff", "#c6dbef", "#4292c6", "#08306b"], "#1f2328"),
    "dark": ("#131416", ["#131416", "#17456e", "#3f8fcb", "#e3f1fb"], "#e6e6e6"),
}
SIDE, CELLS = 5.6, 110


def draw(run: Path) -> None:
    """Write ``home-light.png`` and ``home-dark.png``: the data, the target and what was generated."""
    settings = load_settings(run)
    name, beta = settings["data"] or "8gaussians", float(settings["beta"])
    data = density(name).sample(settings["toy"]["n_data"], seed=0)
    weight = np.exp(-beta * ClassicEnergy(name)(data).double().numpy())
    made = np.load(run / "samples.npy", allow_pickle=False)
    panels = [
        ("your data, p", data.numpy(), None),
        ("what you want, q", data.numpy(), weight),
        ("what you get", made, None),
    ]
    for scheme, (ground, colours, ink) in SCHEMES.items():
        figure = Figure(figsize=(7.2, 2.75), layout="constrained", facecolor=ground)
        FigureCanvasAgg(figure)
        cmap = LinearSegmentedColormap.from_list(scheme, colours)
        for axis, (title, points, weights) in zip(figure.subplots(1, 3), panels, strict=True):
            edges = np.linspace(-SIDE, SIDE, CELLS + 1)
            heights = np.histogram2d(points[:, 0], points[:, 1], [edges, edges], weights=weights, density=True)[0].T
            top = np.quantile(heights[heights > 0], 0.98)
            axis.imshow(np.sqrt(heights / top).clip(0, 1), origin="lower", cmap=cmap, interpolation="bilinear")
            axis.set_title(title, color=ink, fontsize=14)
            axis.axis("off")
        figure.savefig(FOLDER / f"home-{scheme}.png", dpi=150, facecolor=ground)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/_ext/home_picture.py RUN, a folder of python -m egflow.train (domain=toy)")
    draw(Path(sys.argv[1]))
