from pathlib import Path

import pytest
import torch

from drivemim.models import SimpleFeaturePyramid


def test_strides_4_to_32_of_a_stride_16_map() -> None:
    neck = SimpleFeaturePyramid(in_channels=32, out_channels=64)
    maps = neck([torch.full((2, 8, 3, 5), torch.nan), torch.randn(2, 32, 6, 10)])
    assert [tuple(each.shape) for each in maps] == [
        (2, 64, 24, 40),
        (2, 64, 12, 20),
        (2, 64, 6, 10),
        (2, 64, 3, 5),
    ]
    sum(each.square().sum() for each in maps).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("norm", ["LN", "GN"])
def test_normalised_as_configured(norm: str) -> None:
    torch.manual_seed(0)
    neck = SimpleFeaturePyramid(
        in_channels=16, out_channels=64, scales=(2.0, 0.25), norm=norm, input_index=0
    )
    maps = neck([torch.randn(2, 16, 8, 12) * 5, torch.zeros(1)])
    assert [tuple(each.shape[2:]) for each in maps] == [(16, 24), (2, 3)]
    for each in maps:
        values = each.permute(0, 2, 3, 1) if norm == "LN" else each.reshape(2, 32, -1)
        torch.testing.assert_close(
            values.mean(dim=-1), torch.zeros(values.shape[:-1]), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            values.var(dim=-1, correction=0), torch.ones(values.shape[:-1]), atol=1e-3, rtol=0
        )


def test_half_scale_pools_the_largest() -> None:
    neck = SimpleFeaturePyramid(in_channels=16, out_channels=32, scales=(0.5,))
    x = torch.zeros(1, 16, 4, 4)
    x[0, :, 1, 1] = torch.arange(16.0) - 20  # hidden by the zeros beside it
    x[0, :, 2, 3] = torch.arange(16.0)
    pooled = neck.levels[0][0](x)
    assert pooled[0, :, 0, 0].eq(0).all()
    assert pooled[0, :, 1, 1].equal(torch.arange(16.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(scales=(3.0, 1.0)), "must be among"),
        (dict(scales=(1.0, 2.0)), "must descend"),
        (dict(norm="BN"), "must be 'LN' or 'GN'"),
        (dict(norm="GN", out_channels=48), "multiples of 32, not 48"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimpleFeaturePyramid(in_channels=16, **wrong)


def test_a_pretrained_pyramid_is_handed_over(tmp_path: Path) -> None:
    settings = dict(in_channels=8, out_channels=4, scales=(2.0, 1.0))
    pretrained = SimpleFeaturePyramid(**settings)
    state = {f"decoder.neck.{name}": value for name, value in pretrained.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "run.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "run.pth"), prefix="decoder.neck.")
    neck = SimpleFeaturePyramid(**settings, init_cfg=start)
    neck.init_weights()
    for name, value in pretrained.state_dict().items():
        assert torch.equal(neck.state_dict()[name], value), name
