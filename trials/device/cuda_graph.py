"""Work on a GPU as one CUDA graph: hundreds of small kernels start at once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trials.device.errors import is_lost

# In the first runs cuDNN chooses algorithms, and libraries make workspaces: not in a capture.
WARM_UP_RUNS = 3


def capture(
    work: Callable[[], None],
    lasting: Sequence[Tensor],
    device: torch.device,
    *,
    required: bool = False,
) -> Callable[[], None]:
    """A function that does the same as `work`, all of it queued on the current stream by one call.

    `work` must read and write tensors that stay in place, never wait for the device, and draw no
    random numbers. It runs a few times to warm up; the `lasting` tensors are restored afterwards.
    On a CPU `work` itself is returned. Where a GPU can't capture it, so it is, with one line on
    stderr, or RuntimeError is raised if the graph is `required`. Raises what `work` raises.
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
            # Other threads (which prepare batches) may use the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
        except RuntimeError as error:
            if required or is_lost(error, str(device)):
                raise
            reason = str(error).splitlines()[0]
            _note(f"the training step runs eagerly, since {device} did not capture it: {reason}")
            return work
    return graph.replay


@functools.cache
def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)
