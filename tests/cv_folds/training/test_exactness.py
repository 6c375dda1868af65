from __future__ import annotations

import pytest
import torch

from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_logits
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView


def switches() -> tuple[bool, bool, bool, str]:
    cudnn = torch.backends.cudnn
    return cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(params=["function", "attribute"])
def rounding(request):
    """Every switch the other way, as a user may have set it: by torch's older function, or by its newer one."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True):
        if request.param == "function":
            torch.set_float32_matmul_precision("high")
        else:
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        yield switches()
        torch.set_float32_matmul_precision("highest")


def test_on_a_gpu_nothing_is_rounded_and_the_switches_return(rounding):
    # The switches are there without a GPU too.
    with exact_float32(torch.device("cuda")):
        assert switches() == (False, False, True, "ieee")
    assert switches() == rounding == (True, True, False, "tf32")
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
