"""The table of a finished measurement: medians, ratios, shares of the product peak."""

from statistics import median


def _spread(values, digits, unit=""):
    low, high = min(values), max(values)
    if len(values) == 1:
        return f"{low:.{digits}f}{unit}"
    return f"{median(values):.{digits}f}{unit} ({low:.{digits}f}..{high:.{digits}f})"


def _passes(runs):
    """One number a round."""
    return [median(run["passes_s"]) for run in runs]


def _share(program, results):
    """Reached FLOP/s over those of bare products, round by round."""
    if not program["flops"] or "peak" not in results:
        return ""
    peaks = [run[program["rate"]] * 1e9 for run in results["peak"]]
    passes = _passes(results[program["name"]])
    shares = [100 * program["flops"] / t / peak for t, peak in zip(passes, peaks)]
    return _spread(shares, 0, " %")


def _rows(scenario):
    results = scenario["results"]
    for program in scenario["programs"]:
        runs = results[program["name"]]
        passes = _passes(runs)
        ratios, memory = [], []
        for ours in program["against"]:
            pairs = list(zip(passes, _passes(results[ours])))
            ratios.append(f"{_spread([t / u for t, u in pairs], 2)} {ours}")
            pairs = zip(results[ours], runs)
            share = median(100 * u["peak_mib"] / t["peak_mib"] for u, t in pairs)
            memory.append(f"{share:.0f} % {ours}")
        name = program["name"] if program["against"] else f"**{program['name']}**"
        yield [
            f"{scenario['study']}, {scenario['model']}, {scenario['input']}",
            name,
            _spread(passes, 3 if median(passes) < 10 else 1, " s"),
            "<br>".join(ratios),
            f"{median(run['process_s'] for run in runs):.2f} s",
            f"{median(run['peak_mib'] for run in runs):.0f} MiB",
            "<br>".join(memory),
            _share(program, results),
        ]


def _peaks(record):
    seen = {}
    for scenario in record["scenarios"]:
        for run in scenario["results"].get("peak", []):
            seen.setdefault(scenario["model"], []).append(run)
    for model, runs in seen.items():
        parts = [f"{kind} {_spread([run[kind] for run in runs], 0)}" for kind in ("forward", "both")]
        yield f"{model}: {', '.join(parts)} GFLOP/s"


def markdown(record):
    """What docs/performance.md shows."""
    machine = record["machine"]
    rounds = max(len(runs) for s in record["scenarios"] for runs in s["results"].values())
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lines = [
        f"{record['date']}, {machine['processor']} (family {machine['family']}, model "
        f"{machine['model']}; {', '.join(machine['vectors'])}), {machine['cores']} cores, "
        f"{record['threads']} threads, commit {record['commit']}; {versions}. "
        f"Medians of {rounds} rounds (min..max). Bare products: {'; '.join(_peaks(record)) or 'not measured'}.",
        "",
        "| study, model, input | program | pass | times ours | process | peak memory "
        "| our memory | share of product peak |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for scenario in record["scenarios"]:
        lines += ["| " + " | ".join(row) + " |" for row in _rows(scenario)]
    return "\n".join(lines) + "\n"
