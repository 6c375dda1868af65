from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from cv_folds_samples import job_spec
from safetensors.torch import load_file
from torch import nn

from cv_folds.training import compiled, trained_job
from cv_folds.training.compiled import compiled_like
from cv_folds.training.jobs import finished, run_job
from cv_folds.training.settings import PhaseSettings, TrainingSettings

SETTINGS = TrainingSettings(image_size=32, epochs=2, batch_size=16, ema_decay=0.9, mixup=0.3)
COMPILED = SETTINGS.model_copy(update={"compile": True})


@pytest.fixture(autouse=True)
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """One entry a compiled graph, made by a backend that needs no compiler; nothing is left for the other tests."""
    seen: list[object] = []

    def counting(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        seen.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(compiled, "_made", {})
    monkeypatch.setattr(compiled, "BACKEND", counting)
    yield seen
    torch.compiler.reset()


class Network(nn.Module):
    def __init__(self, seed: int, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Conv2d(3, width, 5, stride=4), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(images).mean(dim=(2, 3)))
        return logits


def images() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(9))


def test_the_first_network_is_compiled_as_it_is(graphs):
    model = Network(0)
    kept, forward = compiled_like(model, "key")
    assert kept is model
    torch.testing.assert_close(forward(images()), Network(0)(images()))
    assert len(graphs) == 1


def test_a_later_network_of_the_same_key_is_poured_into_the_first(graphs):
    first, forward = compiled_like(Network(0), "key")
    forward(images())
    model = Network(1)
    kept, again = compiled_like(model, "key")
    assert kept is first
    assert again is forward
    expected = Network(1)
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in kept.state_dict().items())
    torch.testing.assert_close(again(images()), expected(images()))
    assert len(graphs) == 1
    # The one that came in stays as it is.
    with torch.no_grad():
        kept.head.weight.zero_()
    assert torch.equal(model.head.weight, Network(1).head.weight)


def test_the_compiled_form_trains_the_network_itself():
    model, forward = compiled_like(Network(0), "key")
    before = model.head.weight.detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        forward(images()).square().sum().backward()
        optimiser.step()
    assert not torch.equal(model.head.weight, before)
    torch.testing.assert_close(forward(images()), model(images()))


def test_gradients_of_a_training_that_failed_are_not_passed_on():
    kept, forward = compiled_like(Network(0), "key")
    forward(images()).sum().backward()
    assert kept.head.weight.grad is not None
    again, _ = compiled_like(Network(1), "key")
    assert all(parameter.grad is None for parameter in again.parameters())


def test_only_the_last_network_is_kept():
    model = Network(0)
    gone = weakref.ref(model)
    compiled_like(model, "key")[1](images())
    del model
    gc.collect()
    assert gone() is not None
    compiled_like(Network(1), "other")
    gc.collect()
    assert gone() is None


def test_every_network_of_a_long_row_is_compiled(graphs):
    # torch gives up after eight graphs of one function, unless it is told to forget.
    for width in range(2, 14):
        kept, forward = compiled_like(Network(0, width), width)
        torch.testing.assert_close(forward(images()), kept(images()))
    assert len(graphs) == 12


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs train a network that is compiled in no time."""
    widths = {"shufflenet_v2_x0_5": 4, "squeezenet1_1": 5}
    monkeypatch.setattr(
        trained_job, "build_backbone", lambda name, *_, **__: Network(torch.randint(2**31, ()).item(), widths[name])
    )


def test_a_compiled_job_ends_like_a_plain_one(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    plain = job_spec(tmp_path, settings=SETTINGS)
    run_job(plain)
    spec = replace(plain, run=tmp_path / "compiled", settings=COMPILED)
    record, expected = run_job(spec), finished(plain)
    assert expected is not None
    assert record.settings_digest != expected.settings_digest
    weights, others = (load_file(each.folder / "model.safetensors") for each in (spec, plain))
    # A compiled network is stored under the names of a plain one.
    assert weights.keys() == others.keys()
    logits, expected_logits = (np.load(each.folder / "oof.npz")["logits"] for each in (spec, plain))
    np.testing.assert_allclose(logits, expected_logits, rtol=0.02, atol=0.02)


PHASES = (
    PhaseSettings(epochs=1, learning_rate=0.01, trained="head", batch_norm="frozen"),
    PhaseSettings(epochs=1, learning_rate=0.005),
)


@pytest.mark.usefixtures("small")
def test_compiled_phases_end_like_plain_ones(tmp_path):
    phases = {"phases": PHASES, "resampling": "none"}
    plain = job_spec(tmp_path, settings=SETTINGS.model_copy(update=phases))
    run_job(plain)
    # The second fold finds the module as the last phase of the first one left it.
    for fold in (0, 1):
        spec = replace(plain, run=tmp_path / "compiled", settings=COMPILED.model_copy(update=phases), fold=fold)
        run_job(spec)
    assert len(compiled._made) == 1
    logits, expected = (np.load(each.folder / "oof.npz")["logits"] for each in (spec, plain))
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("small")
def test_one_module_serves_all_folds_and_leaves_no_trace_of_the_fold_before(tmp_path, graphs):
    alone = job_spec(tmp_path, settings=COMPILED, fold=1)
    run_job(alone)
    first = len(graphs)
    assert first > 0
    torch.compiler.reset()
    compiled._made.clear()
    graphs.clear()
    together = [replace(alone, run=tmp_path / "together", fold=fold) for fold in (0, 2, 1)]
    records = [run_job(spec) for spec in together]
    assert len(graphs) == first
    for name in ("model.safetensors", "oof.npz"):
        assert (together[-1].folder / name).read_bytes() == (alone.folder / name).read_bytes()
        assert len({record.files[name] for record in records}) == 3


@pytest.mark.usefixtures("small")
def test_another_backbone_is_compiled_anew(tmp_path, graphs):
    spec = job_spec(tmp_path, settings=COMPILED.model_copy(update={"epochs": 1}))
    run_job(spec)
    first = len(graphs)
    run_job(replace(spec, backbone="squeezenet1_1"))
    assert len(graphs) > first
    assert len(compiled._made) == 1


@pytest.mark.usefixtures("small")
def test_a_compiled_job_that_was_interrupted_ends_with_the_same_files(tmp_path, monkeypatch):
    whole = job_spec(tmp_path, settings=COMPILED)
    run_job(whole)
    spec = replace(whole, run=tmp_path / "interrupted")
    write = trained_job.write_history

    def failing(path, rows):
        write(path, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trained_job, "write_history", failing)
        with pytest.raises(KeyboardInterrupt):
            run_job(spec)
    assert run_job(spec).resumed == 1
    for name in ("model.safetensors", "oof.npz"):
        assert (spec.folder / name).read_bytes() == (whole.folder / name).read_bytes()
