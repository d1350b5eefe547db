import pytest
import torch
from torch import nn

from drivemim.errors import ConfigError
from drivemim.training.autocast import AutocastOptimWrapper, mixed_precision
from drivemim.training.run import train


def test_forward_is_bfloat16_and_weights_are_not():
    model = nn.Linear(4, 4)
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32


def test_accumulation_and_clipping_by_hand():
    # The loss 3 w has the gradient 3 / 2 per batch, 3 over two batches, which is clipped to 1. So
    # with a learning rate of 0.5, w falls by 0.5 after every second batch.
    weight = nn.Parameter(torch.tensor(5.0))
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD([weight], lr=0.5),
        accumulative_counts=2,
        clip_grad={"max_norm": 1.0},
    )
    module = nn.ParameterList([weight])
    wrapper.initialize_count_status(module, 0, 4)
    seen = []
    for _ in range(4):
        with wrapper.optim_context(module):
            loss = 3 * weight
        wrapper.update_params(loss)
        seen.append(round(float(weight.detach()), 5))
    assert seen == [5.0, 4.5, 4.5, 4.0]


@pytest.mark.parametrize(
    ("cuda", "bf16", "expected"),
    [
        (False, False, "drivemim.AutocastOptimWrapper"),
        (True, True, "drivemim.AutocastOptimWrapper"),
        (True, False, "AmpOptimWrapper"),
    ],
)
def test_gpus_without_bfloat16_use_float16(monkeypatch, cuda, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    chosen = mixed_precision({"type": "OptimWrapper", "accumulative_counts": 3})
    assert (chosen["type"], chosen["accumulative_counts"]) == (expected, 3)


def test_amp_option_trains_on_any_device_and_refuses_other_wrappers(repository, tmp_path):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    runner = train(config, work_dir=tmp_path / "amp", amp=True)
    assert type(runner.optim_wrapper).__name__ == mixed_precision({})["type"].split(".")[-1]
    with pytest.raises(ConfigError, match="optim_wrapper.type=Apex"):
        train(config, work_dir=tmp_path, amp=True, options={"optim_wrapper.type": "Apex"})
