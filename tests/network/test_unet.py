"""The U-Net: shapes, gradients, the effect of t and the condition, and errors that name the cure."""

import json

import pytest
import torch
from torch import Tensor

from egflow.network import UNet


def stirred(**config: int) -> UNet:
    """A U-Net whose zero-initialised layers are not zero, so that its output says something."""
    torch.manual_seed(0)
    net = UNet(width=8, **config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def inputs(channels: int = 1, size: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, channels, size, size, generator=generator), torch.rand(3, generator=generator)


@pytest.mark.parametrize(("channels", "size", "levels"), [(1, 8, 2), (3, 8, 3), (1, 28, 3), (2, 7, 1)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_output_has_the_shape_of_x_and_starts_at_zero(channels: int, size: int, levels: int, blocks: int) -> None:
    net = UNet(channels=channels, size=size, width=8, levels=levels, blocks=blocks)
    x, t = inputs(channels, size)
    out = net(x, t)
    assert out.shape == x.shape
    assert torch.equal(out, torch.zeros_like(x))


def test_every_parameter_gets_a_gradient() -> None:
    net = stirred(num_classes=4)
    x, t = inputs()
    net(x, t, torch.tensor([0, 1, 2])).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_each_output_pixel_sees_every_input_pixel() -> None:
    net = stirred().double()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x, torch.full((1,), 0.5, dtype=torch.float64))[0, 0, 0, 0], x)
    assert (gradient != 0).all()


def test_rows_do_not_mix() -> None:
    net = stirred()
    x, t = inputs()
    torch.testing.assert_close(net(x, t)[1:2], net(x[1:2], t[1:2]), rtol=1e-4, atol=1e-5)


def test_patches_take_pixels_together_and_apart_again() -> None:
    net = stirred(patch=2, size=16)
    x, t = inputs(size=16)
    assert net(x, t).shape == x.shape and net.inlet.in_channels == 4
    x = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(net.double()(x, t.double())[0, 0, 0, 0], x)
    assert (gradient[0] != 0).all() and (gradient[1:] == 0).all()
    with pytest.raises(
        ValueError, match=r"size=12 cannot be cut into patches of 2 and halved 2 times: pad .* multiple of 8"
    ):
        UNet(size=12, levels=3, patch=2)


@pytest.mark.parametrize("width", [8, 24, 56, 64])
def test_attention_has_heads_at_any_width(width: int) -> None:
    net = UNet(width=width, levels=1, attention=True)
    assert net(*inputs()).shape == (3, 1, 8, 8)


def test_attention_starts_at_nothing_and_then_learns() -> None:
    torch.manual_seed(0)
    net = UNet(width=8, attention=True)
    bare = UNet(width=8)
    bare.load_state_dict({name: value for name, value in net.state_dict().items() if "attention" not in name})
    with torch.no_grad():
        for one in (net, bare):
            one.outlet.weight.fill_(0.1)
    x, t = inputs()
    torch.testing.assert_close(net(x, t), bare(x, t))
    again = UNet(**net.config)
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        net.attention.out.weight.normal_()  # type: ignore[union-attr, operator]
    assert (net(x, t) - bare(x, t)).abs().amax() > 1e-3
    net(x, t).square().sum().backward()
    gradient = net.attention.qkv.weight.grad  # type: ignore[union-attr]
    assert isinstance(gradient, Tensor) and gradient.abs().sum() > 0


def test_time_changes_the_output() -> None:
    net = stirred()
    x, t = inputs()
    assert (net(x, t) - net(x, 1 - t)).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_class_and_vector_conditions_change_the_output() -> None:
    x, t = inputs()
    by_class = stirred(num_classes=5)
    assert not torch.allclose(by_class(x, t, torch.zeros(3).long()), by_class(x, t, torch.ones(3).long()), atol=1e-3)
    by_vector = stirred(condition_dim=2)
    assert not torch.allclose(by_vector(x, t, torch.zeros(3, 2)), by_vector(x, t, torch.ones(3, 2)), atol=1e-3)


def test_config_rebuilds_the_network() -> None:
    net = stirred(num_classes=5)
    again = UNet(**json.loads(json.dumps(net.config)))
    again.load_state_dict(net.state_dict())
    x, t = inputs()
    label = torch.tensor([0, 4, 2])
    assert torch.equal(net(x, t, label), again(x, t, label))


def test_it_learns() -> None:
    """A hundred steps on the field x -> −x halve the loss several times over."""
    torch.manual_seed(0)
    net = UNet(width=8)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(100):
        x, t = torch.randn(32, 1, 8, 8), torch.rand(32)
        loss = (net(x, t) + x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.9 and losses[-1] < 0.2
