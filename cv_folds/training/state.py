"""All that changes while a network trains, and its way into a checkpoint and back, the same to the bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cv_folds.training.checkpoint import Snapshot
from cv_folds.training.course import Course
from cv_folds.training.state_dict import load_tensors
from cv_folds.training.step import Stepper


@dataclass(kw_only=True)
class TrainingState:
    """Where a training stands."""

    stepper: Stepper
    """The network, its optimiser and moving average, in the phase that `phase` names."""
    phase: int
    """Position of that phase in the settings."""
    course: Course
    """The epochs so far."""
    generator: torch.Generator
    """For sampling and augmentation, a CPU generator."""
    epoch_start: torch.Tensor
    """State of `generator` at the beginning of the running epoch."""
    steps_before: int = 0
    """Steps of the phases before."""
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """Weights of the best epoch so far."""
    losses: list[torch.Tensor] = field(default_factory=list)
    """() float32, one a step of the running epoch, on the device."""
    seconds: float = 0.0
    """Spent on the running epoch by processes that were interrupted."""
    resumed: int = 0
    """How often the training went on from a checkpoint."""

    def begin(self, phase: int, stepper: Stepper) -> None:
        """Go on in another phase."""
        self.steps_before += self.stepper.steps_done
        self.phase, self.stepper = phase, stepper

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.stepper.model.parameters()).device


def capture(state: TrainingState) -> Snapshot:
    """Return a snapshot; its tensors are those of the state, not copies."""
    stepper = state.stepper
    tensors = {f"model/{key}": value for key, value in stepper.model.state_dict().items()}
    tensors |= {f"best/{key}": value for key, value in state.best.items()}
    if stepper.average is not None:
        tensors |= {f"average/{key}": value for key, value in stepper.average.model.state_dict().items()}
    for index, values in stepper.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": value for key, value in values.items()}
    tensors["random/epoch"] = state.epoch_start
    # Dropout draws from torch's own generators.
    tensors["random/cpu"] = torch.get_rng_state()
    if state.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(state.device)
    if state.losses:
        tensors["losses"] = torch.stack(state.losses)
    plain: dict[str, Any] = {
        "steps_done": state.steps_before + stepper.steps_done,
        "phase": state.phase,
        "phase_steps": stepper.steps_done,
        "average_steps": None if stepper.average is None else stepper.average.steps,
        "rows": state.course.plain(),
        "seconds": state.seconds,
        "resumed": state.resumed,
    }
    return Snapshot(tensors=tensors, state=plain)


def restore(state: TrainingState, snapshot: Snapshot) -> None:
    """Bring a fresh state, in the phase that the snapshot names, to where it was taken."""
    assert state.phase == snapshot.state["phase"]
    stepper, parts = state.stepper, _parts(snapshot.tensors)
    _fill(stepper.model, parts["model"])
    if stepper.average is not None:
        _fill(stepper.average.model, parts["average"])
        stepper.average.steps = snapshot.state["average_steps"]
    state.best = {key: value.to(state.device) for key, value in parts.get("best", {}).items()}
    optimiser = stepper.optimiser.state_dict()
    for key, value in parts.get("optimiser", {}).items():
        index, name = key.split("/")
        optimiser["state"].setdefault(int(index), {})[name] = value
    stepper.optimiser.load_state_dict(optimiser)
    stepper.resume(snapshot.state["phase_steps"])
    state.steps_before = snapshot.state["steps_done"] - stepper.steps_done
    state.course = Course.from_plain(snapshot.state["rows"], state.course.monitor)
    state.losses = list(snapshot.tensors["losses"].to(state.device)) if "losses" in snapshot.tensors else []
    state.seconds = snapshot.state["seconds"]
    state.resumed = snapshot.state["resumed"] + 1
    state.epoch_start = parts["random"]["epoch"]
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"] and state.device.type == "cuda":
        torch.cuda.set_rng_state(parts["random"]["cuda"], state.device)


def _fill(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    # In place: the optimiser, the moving average and the compiled form hold the model's own tensors.
    load_tensors(model, tensors)


def _parts(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.partition("/")
        parts.setdefault(part, {})[key] = tensor
    return parts
