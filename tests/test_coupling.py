"""Couplings return indices; optimal transport is exact, and refused where it would bias."""

from itertools import permutations

import pytest
import torch

from egflow.coupling import COUPLINGS, make_coupling, optimal_transport


@pytest.mark.parametrize("name", COUPLINGS)
def test_contract(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x_0, x_1 = torch.randn(9, 2, 2, generator=generator), torch.randn(9, 2, 2, generator=generator)
    assert sorted(COUPLINGS[name](x_0, x_1).tolist()) == list(range(9))


def test_optimal_transport_against_all_permutations() -> None:
    generator = torch.Generator().manual_seed(1)
    x_0, x_1 = torch.randn(6, 2, generator=generator), torch.randn(6, 2, generator=generator)
    best = min(permutations(range(6)), key=lambda order: float((x_0[list(order)] - x_1).square().sum()))
    assert optimal_transport(x_0, x_1).tolist() == list(best)


def test_refused() -> None:
    with pytest.raises(ValueError, match="differ in condition"):
        make_coupling("ot", differ="condition")
    with pytest.raises(ValueError, match="equally weighted"):
        make_coupling("ot", weights="global")
    with pytest.raises(ValueError, match="coupling must be one of"):
        make_coupling("emd")
