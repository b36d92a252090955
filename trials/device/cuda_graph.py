"""Work on a GPU as one CUDA graph: hundreds of small kernels are started at once instead of one by
one from Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trials.device.errors import is_lost

# cuDNN chooses its algorithms, and libraries make their workspaces, in the first runs; neither may
# happen in a capture.
WARM_UP_RUNS = 3

_told: set[str] = set()


def capture(
    work: Callable[[], None], lasting: Sequence[Tensor], device: torch.device
) -> Callable[[], None]:
    """What does the same as `work`, all of it queued on the current stream by one call.

    `work` reads and writes tensors that stay where they are, never waits for the device, and draws
    no random numbers. It is run a few times before; the `lasting` tensors are what they were
    afterwards. Where it can't be captured, and on a CPU, `work` itself comes back, on a GPU with
    one line on stderr (once in a process). Raises what `work` raises.
    """
    if device.type != "cuda":
        return work
    with torch.cuda.device(device):
        before = [tensor.clone() for tensor in lasting]
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                work()
            for tensor, value in zip(lasting, before, strict=True):
                tensor.copy_(value)
        torch.cuda.current_stream(device).wait_stream(side)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads (batches drawn ahead) may go on meanwhile: only this one's calls must
            # suit a capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
        except RuntimeError as error:
            if is_lost(error, str(device)):
                raise
            _tell(
                f"the training step runs eagerly, since {device} did not capture it: "
                f"{str(error).splitlines()[0]}"
            )
            return work
    return graph.replay


def _tell(line: str) -> None:
    if line not in _told:
        _told.add(line)
        print(f"note: {line}", file=sys.stderr, flush=True)
