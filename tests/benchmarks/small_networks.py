"""How small and fast can a network of the space be? MACs and measured latency as shares of MO's,
in one run.

    python tests/benchmarks/small_networks.py

Times MO and the candidates in turn (A B A C ...) as `nas.bench` does, 512 x 512 on two cores.
"""

from dataclasses import replace

from space import BASELINES, Genome, build_model, count_cost
from trials import LatencyConfig, measure_all

CANDIDATES = {
    "plain trunk of the rough trial": Genome(
        skip_width=48,
        skip_block="residual",
        skip_blocks=2,
        merge_width=0,
        head="add",
        head_kernel=3,
    ),
    "one residual block, 32 wide": Genome(
        skip_width=32,
        skip_block="residual",
        skip_blocks=1,
        merge_width=0,
        head="add",
        head_kernel=3,
    ),
    "one rep block, 16 wide, no head": Genome(
        skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="none"
    ),
}


def main() -> None:
    config = replace(LatencyConfig(threads=2), max_seconds=8.0)
    mo, found = measure_all(
        build_model(BASELINES["MO"]),
        [build_model(genome) for genome in CANDIDATES.values()],
        config,
    )
    print(
        f"{mo.device_name}, 2 threads, torch {mo.torch_version}, {mo.height} x "
        f"{mo.width}, {mo.dtype}, {mo.memory_format}"
    )
    mo_macs = count_cost(BASELINES["MO"], mo.height, mo.width).macs
    for (name, genome), one in zip(CANDIDATES.items(), found, strict=True):
        macs = count_cost(genome, mo.height, mo.width).macs
        print(
            f"{name:32s} {macs / mo_macs:6.1%} of MO's MACs, {one.ratio.value:6.1%} of "
            f"MO's latency "
            f"({one.ratio.low:.1%} to {one.ratio.high:.1%}; {one.latency.median_ms:.1f} "
            f"against {mo.median_ms:.1f} ms)"
        )


if __name__ == "__main__":
    main()
