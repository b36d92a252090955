"""How small and fast can a network of the space be? MACs and measured latency as shares of MO's,
in one run.

    python tests/benchmarks/small_networks.py

Times MO and the candidates in turn (A B A C ...) as `nas.bench` does, 512 x 512 on two cores.
"""

from dataclasses import replace

from space import BASELINES, Genome, build_model, count_cost
from trials import LatencyConfig, measure_all

TRUNK = {"skip_blocks": 1, "merge_width": 0, "head": "add", "head_kernel": 3}
CANDIDATES = {
    "plain trunk of the rough trial": {
        "skip_width": 48,
        "skip_block": "residual",
        "skip_blocks": 2,
    },
    "one residual block, 32 wide": {"skip_width": 32, "skip_block": "residual"},
    "one rep block, 16 wide, no head": {"skip_width": 16, "skip_block": "rep", "head": "none"},
}


def main() -> None:
    config = replace(LatencyConfig(threads=2), max_seconds=8.0)
    genomes = {name: Genome(**{**TRUNK, **genes}) for name, genes in CANDIDATES.items()}
    networks = [build_model(genome) for genome in genomes.values()]
    mo, measured = measure_all(build_model(BASELINES["MO"]), networks, config)
    setting = f"{mo.height} x {mo.width}, {mo.dtype}, {mo.memory_format}"
    print(f"{mo.device_name}, 2 threads, torch {mo.torch_version}, {setting}")
    mo_macs = count_cost(BASELINES["MO"], mo.height, mo.width).macs
    for (name, genome), one in zip(genomes.items(), measured, strict=True):
        macs = count_cost(genome, mo.height, mo.width).macs
        print(
            f"{name:32s} {macs / mo_macs:6.1%} of MO's MACs, {one.ratio.value:6.1%} of MO's "
            f"latency ({one.ratio.low:.1%} to {one.ratio.high:.1%}; {one.latency.median_ms:.1f} "
            f"against {mo.median_ms:.1f} ms)"
        )


if __name__ == "__main__":
    main()
