"""10,000 mutated genomes, configs, exports, lists and raw photos, and 500 checkpoints: each right,
or refused in one clear line.

    python tests/benchmarks/fuzz.py                                   # all: a few minutes
    python tests/benchmarks/fuzz.py --seed 3 --kind raw --from 900    # one kind, from case 900 on
    python tests/benchmarks/fuzz.py --seed 3 --kind raw --only 917    # one case, in full

Each case is a valid input with one to a few changes, in its structure (keys dropped, added,
doubled, swapped, of other types; huge and odd numbers and texts, deep nesting, paths and links
that lead out) or in its bytes. It is read in a process of its own by the program's own functions.
*Accepted* means that what came of it was checked too: a genome says what its text says, survives
JSON, can be built and drawn; a config survives a file; an export's weights are those that were
saved; a list names only photos of its folder; a raw's values and levels are sane. *Crashed* is all
that is neither that nor one line with a remedy: another exception, a warning, a native crash, an
accepted input that is wrong, any file touched outside of the case's folder. *Hung*: no answer in
30 s. Exits with 1 where anything crashed or hung, and prints those.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.watched import TIMEOUT_S, Outcome, Watched

CASES = {
    "genome": 3000,
    "config": 2500,
    "export": 1500,
    "list": 1500,
    "raw": 1500,
    "checkpoint": 500,
}


@dataclass
class Tally:
    """What came of a kind's cases."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "refused", "crashed", "hung"), 0)
    )
    slowest_ms: float = 0.0
    slowest: int = -1

    def add(self, one: Outcome) -> None:
        self.counts[one.outcome] += 1
        if one.ms > self.slowest_ms:
            self.slowest_ms, self.slowest = one.ms, one.index


def run(cases: dict[str, range], seed: int, timeout_s: float = TIMEOUT_S) -> Iterator[Outcome]:
    """Tries the cases of each kind, in turn."""
    with Watched(seed, timeout_s) as watched:
        for kind, indices in cases.items():
            for index in indices:
                yield watched.try_case(kind, index)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(CASES), help="this kind only")
    parser.add_argument(
        "--from",
        type=int,
        default=0,
        dest="first",
        metavar="N",
        help="begin each kind with this case",
    )
    parser.add_argument("--share", type=float, default=1.0, help="of all cases (1)")
    parser.add_argument("--only", type=int, metavar="N", help="this case of --kind, in full")
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="show so many of each kind's refusals"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    if args.only is not None:
        outcome = next(run({args.kind or "genome": range(args.only, args.only + 1)}, args.seed))
        print(outcome.outcome, f"{outcome.ms:.0f} ms", outcome.words)
        return int(outcome.outcome in ("crashed", "hung"))
    kinds = [args.kind] if args.kind else list(CASES)
    cases = {kind: range(args.first, round(args.share * CASES[kind])) for kind in kinds}
    tallies, bad, words = (
        {kind: Tally() for kind in kinds},
        [],
        {kind: set[str]() for kind in kinds},
    )
    started = time.monotonic()
    for one in run(cases, args.seed):
        tallies[one.kind].add(one)
        if one.outcome in ("crashed", "hung"):
            bad.append(one)
            print(
                f"{one.outcome}: --seed {args.seed} --kind {one.kind} --only "
                f"{one.index}\n  {one.words.strip()[-900:]}",
                flush=True,
            )
        elif one.outcome == "refused":
            words[one.kind].add(one.words)
    print_table(tallies)
    for kind in kinds if args.show else ():
        print(f"\n{kind}:")
        for line in random.Random(args.seed).sample(
            sorted(words[kind]), min(args.show, len(words[kind]))
        ):
            print(f"  {line[:220]}")
    total = sum(sum(tally.counts.values()) for tally in tallies.values())
    seconds = time.monotonic() - started
    print(f"\nseed {args.seed}: {total} cases in {seconds:.0f} s, {len(bad)} crashed or hung")
    if args.json:
        result = {
            "seed": args.seed,
            "cases": total,
            "seconds": seconds,
            "crashed_or_hung": len(bad),
            "kinds": {kind: dataclasses.asdict(tally) for kind, tally in tallies.items()},
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(bool(bad))


def print_table(tallies: dict[str, Tally]) -> None:
    print("\n| kind | cases | accepted | refused | crashed | hung | slowest ms |")
    print("|---|---|---|---|---|---|---|")
    for kind, tally in tallies.items():
        counts = " | ".join(str(count) for count in tally.counts.values())
        print(
            f"| {kind} | {sum(tally.counts.values())} | {counts} | {tally.slowest_ms:.0f} "
            f"(case {tally.slowest}) |"
        )


if __name__ == "__main__":
    sys.exit(main())
