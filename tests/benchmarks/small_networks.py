"""How small and fast can a network of the space be? MACs and measured latency as shares of MO's, in one run.

    python tests/benchmarks/small_networks.py

Times MO and each candidate in turn (A B A B ...), 512 x 512 on the CPU, and prints the median ratio of the pairs.
"""

import statistics

import torch

from space import SEEDS, Genome, build_model, count_cost, fold
from trials.latency import _run_ms, device_name

ROUNDS = 40
CANDIDATES = {
    "plain trunk of the rough trial": Genome(skip_width=48, skip_block="residual", skip_blocks=2, merge_width=0, head="add",
                                             head_kernel=3),
    "one residual block, 32 wide": Genome(skip_width=32, skip_block="residual", skip_blocks=1, merge_width=0, head="add",
                                          head_kernel=3),
    "one rep block, 16 wide, no head": Genome(skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="none"),
}  # fmt: skip


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(2)
    device = torch.device("cpu")
    inputs = [torch.rand(1, 1, 512, 512) for _ in range(4)]
    mo, mo_macs = fold(build_model(SEEDS["MO"])), count_cost(SEEDS["MO"], 512, 512).macs
    print(f"{device_name('cpu')}, 2 threads, torch {torch.__version__}, 512 x 512, float32, {ROUNDS} rounds")
    for name, genome in CANDIDATES.items():
        model = fold(build_model(genome))
        for mosaic in inputs:
            mo(mosaic), model(mosaic)
        pairs = [(_run_ms(model, inputs[k % 4], device), _run_ms(mo, inputs[k % 4], device)) for k in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in pairs)
        macs = count_cost(genome, 512, 512).macs
        print(f"{name:32s} {macs / mo_macs:6.1%} of MO's MACs, {ratio:6.1%} of MO's latency "
              f"({statistics.median(a for a, _ in pairs):.1f} ms against {statistics.median(b for _, b in pairs):.1f} ms)")  # fmt: skip


if __name__ == "__main__":
    main()
