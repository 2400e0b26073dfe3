"""Words about GPUs that decide how a job ends."""

from __future__ import annotations

import pytest

from contracts.gpu import says_gpu_lost


@pytest.mark.parametrize(
    "line",
    [
        "Failed to initialize NVML: Unknown Error",
        "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU",
        "pynvml.NVMLError_GpuIsLost: GPU is lost",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    ],
)
def test_output_of_a_program_whose_card_went_away_is_known(line: str) -> None:
    assert says_gpu_lost(f"step 1\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "Failed to initialize NVML: Driver/library version mismatch",
        "torch.cuda.OutOfMemoryError: CUDA out of memory",
        "RuntimeError: No CUDA GPUs are available",
        "GPU not lost but found",
    ],
)
def test_output_of_a_program_that_failed_by_itself_is_not_blamed_on_the_card(line: str) -> None:
    assert not says_gpu_lost(line)
