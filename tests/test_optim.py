"""Optimizers: what may be named, what is refused, and that what may be named resumes exactly."""

import pytest
import torch
from timm.optim import list_optimizers
from torch import nn

from i2i import checkpoint, optim
from i2i.errors import I2IError

COMMON = ["adafactor", "adafactorbv", "adam", "adamw", "adan", "lamb", "lion", "muon", "nadam", "rmsprop", "sgd"]


def problems_of(table):
    problems = []
    optim.check(optim.complete(table), problems)
    return [str(p) for p in problems]


def step(network, optimizer, seed):
    optimizer.zero_grad()
    network(torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))).square().mean().backward()
    optimizer.step()


def network_and_optimizer(table):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    return network, optim.build(optim.complete(table), {"player": dict(network.named_parameters())})["player"]


def state(network, optimizer):
    parameters = dict(network.named_parameters())
    optimizers = {"player": optim.state_of(optimizer, parameters)}
    tensors = {name: p.detach() for name, p in parameters.items()}
    return {"step": 1, "parameters": tensors, "buffers": {}, "optimizers": optimizers, "average": {}, "rng": {}}


def assert_resumes(table, folder):
    """Four steps in a row, and two, a checkpoint on disk, a fresh optimizer, and two: the same weights to the bit."""
    network, optimizer = network_and_optimizer(table)
    for seed in range(2):
        step(network, optimizer, seed)
    checkpoint.save(folder, state(network, optimizer), {}, keep=1)
    loaded, _ = checkpoint.load(checkpoint.folder_of(folder, 1))
    again, restored = network_and_optimizer(table)
    again.load_state_dict(loaded["parameters"])
    optim.restore(restored, dict(again.named_parameters()), loaded["optimizers"]["player"])
    for seed in range(2, 4):
        step(network, optimizer, seed)
        step(again, restored, seed)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


@pytest.mark.parametrize("name", COMMON)
def test_resumes_to_the_same_bits(name, tmp_path):
    assert not problems_of({"name": name})
    assert_resumes({"name": name}, tmp_path)


@pytest.mark.parametrize("name", sorted(set(list_optimizers()) - set(COMMON)))
def test_every_other_name_resumes_exactly_or_is_refused(name, tmp_path):
    refused = problems_of({"name": name})
    if not refused:
        assert_resumes({"name": name}, tmp_path)
    else:
        (message,) = refused
        known = ("cannot be used here: ", "cannot take a step: ", "cannot be saved and resumed exactly; choose another")
        assert any(text in message for text in known), message


@pytest.mark.parametrize("name", ["kron", "adahessian"])  # lists of tensors and its own randomness; a second gradient
def test_what_cannot_be_resumed_or_stepped_is_refused(name):
    (message,) = problems_of({"name": name})
    assert message.startswith("optim") and f"{name} cannot" in message


@pytest.mark.parametrize("name", ["lookahead_adam", "foo_adam", "Adam", "", 3, ["adam"]])
def test_only_whole_names_count(name):
    (message,) = problems_of({"name": name, "lr": 0.1})
    assert message.startswith("optim.name: there is no optimizer")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lr": float("inf")}, "optim.lr: must be a number, at least 0, not Infinity"),
        ({"lr": float("nan")}, "optim.lr: must be a number, at least 0, not NaN"),
        ({"betas": [0.5]}, "optim.betas: must be a list of 2 numbers, not [0.5]"),
        ({"betas": 0.5}, "optim.betas: must be a list of 2 numbers, not 0.5"),
        ({"betas": [0.5, "x"]}, "optim.betas: must be a list of 2 numbers"),
        ({"name": "adan", "betas": [0.9, 0.99]}, "optim.betas: must be a list of 3 numbers"),
        ({"eps": "small"}, 'optim.eps: must be a number, not "small"'),
        ({"weight_decay": True}, "optim.weight_decay: must be a number, not true"),
        ({"amsgrad": 1}, "optim.amsgrad: must be true or false, not 1"),
        ({"differentiable": True}, "optim: adam cannot take a step: "),
        ({"foreach": True, "fused": True}, "optim: "),
        ({"discriminators": {"betas": [0.5]}}, "optim.discriminators.betas: must be a list of 2 numbers"),
    ],
)
def test_values_that_cannot_work_are_told(table, message):
    found = problems_of(table)
    assert len(found) == 1 and found[0].startswith(message), found


def test_every_mistake_is_told_at_once():
    found = problems_of({"lr": -1, "betas": [1], "discriminators": {"lr": 1e-3, "betas": [0.5, 0.9], "ep": 1}})
    assert [text.partition(":")[0] for text in found] == ["optim.lr", "optim.betas", "optim.discriminators.ep"]


def test_a_choice_of_implementation_stands():
    for table, fused in (({}, True), ({"foreach": True}, None), ({"fused": False}, False)):
        assert not problems_of(table)
        assert network_and_optimizer(table)[1].param_groups[0]["fused"] is fused
    assert network_and_optimizer({"foreach": True})[1].param_groups[0]["foreach"] is True


@pytest.mark.parametrize(
    ("group", "device"),
    [({"fused": True}, "meta"), ({"capturable": True}, "meta"), ({"fused": False}, "cpu"), ({}, "cpu")],
)
def test_the_step_count_is_where_torch_wants_it(group, device):
    """The rule of torch.optim.Optimizer.load_state_dict; `meta` stands for any device that is not the CPU."""
    parameter = nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = torch.optim.Adam([parameter])
    values = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    optim.restore(optimizer, {"w": parameter}, {"groups": [group], "state": {"w": values}})
    devices = {name: value.device.type for name, value in optimizer.state[parameter].items()}
    assert devices == {"step": device, "exp_avg": "meta", "exp_avg_sq": "meta"}


def test_checking_leaves_torchs_random_numbers_alone():
    before = torch.get_rng_state()
    for name in COMMON:
        assert not problems_of({"name": name})
    assert torch.equal(before, torch.get_rng_state())


def test_a_player_that_is_not_there():
    with pytest.raises(I2IError, match="optim.generatrs: there is no such player; did you mean 'generators'"):
        optim.build({"name": "adam", "lr": 1e-3, "generatrs": {"lr": 1.0}}, {"generators": {}})
