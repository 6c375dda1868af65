from __future__ import annotations

import pytest
import torch

from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_logits
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

BACKENDS = torch.backends
ROUNDING = (BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul)


def switches() -> list[object]:
    return [*(each.fp32_precision for each in ROUNDING), BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic]


@pytest.fixture(params=["as it is", "function", "attribute", "all", "convolutions", "cudnn", "older"])
def rounding(request):
    """Switches as an application may have set them: by torch's older functions, or by its newer attributes."""
    before = [each.fp32_precision for each in ROUNDING]
    match request.param:
        case "function":
            torch.set_float32_matmul_precision("high")
        case "attribute":
            BACKENDS.cuda.matmul.fp32_precision = "tf32"
        case "all":
            BACKENDS.fp32_precision = "tf32"
        case "convolutions":
            BACKENDS.cudnn.conv.fp32_precision = "ieee"
        case "cudnn":
            BACKENDS.cudnn.fp32_precision = "ieee"
        case "older":
            BACKENDS.cudnn.allow_tf32 = True
    BACKENDS.cudnn.benchmark = True
    yield switches()
    BACKENDS.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    BACKENDS.fp32_precision = BACKENDS.cudnn.fp32_precision = "none"
    for each, value in zip(ROUNDING, before, strict=True):
        each.fp32_precision = value


def test_on_a_gpu_nothing_is_rounded_and_the_switches_return(rounding):
    # The switches are there without a GPU too.
    with exact_float32(torch.device("cuda")):
        assert switches() == ["ieee", "ieee", "ieee", False, True]
    assert switches() == rounding
    with pytest.raises(KeyError), exact_float32(torch.device("cuda:0")):
        raise KeyError
    assert switches() == rounding


def test_on_the_cpu_nothing_changes(rounding):
    with exact_float32(torch.device("cpu")):
        assert switches() == rounding


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_prediction_on_a_gpu_is_that_of_the_cpu(rounding):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 8), torch.nn.Flatten(), torch.nn.Linear(64 * 625, 5))
    pixels = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    rows = torch.arange(8)

    def logits(device: str) -> torch.Tensor:
        view = ImageView(ResidentPixels(pixels.to(device)), rows, torch.zeros(8))
        return predict_logits(model.to(device), view, batch_size=8, normalisation=IMAGENET)

    torch.testing.assert_close(logits("cuda"), logits("cpu"), rtol=0, atol=1e-5)
