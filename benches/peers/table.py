"""Turns measured rounds into a page of benches/runs."""
import statistics

from rows import ROWS

TITLES = {"echo": "bare UDP loop (floor)", "echo-sized": "the same, replies as large (floor)", "coredns": "CoreDNS", "before": "Signpost before", "signpost": "Signpost", "nsd": "NSD", "knot": "Knot", "unbound": "Unbound"}


def middle(rounds, what):
    return statistics.median(r[what] for r in rounds)


def spread(rounds, what, form):
    """Formats the median, with lowest and highest in ( )."""
    values = [r[what] for r in rounds]
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def quotient(one, other):
    return f"{middle(one, 'cpu_us') / middle(other, 'cpu_us'):.2f}" if one and other else ""


def goal(row, mine, floor, coredns):
    """Returns Signpost's goal, and whether it is met."""
    wanted = []
    if row.goal and floor:
        holds = middle(mine, "cpu_us") / middle(floor, "cpu_us") <= row.goal
        wanted.append(f"≤ {row.goal:.2f} x floor: {'met' if holds else '**missed**'}")
    if row.goal_coredns and coredns:
        holds = middle(coredns, "cpu_us") / middle(mine, "cpu_us") >= row.goal_coredns
        wanted.append(f"≥ {row.goal_coredns:g} x CoreDNS: {'met' if holds else '**missed**'}")
    return "; ".join(wanted)


def cost(rows, rounds):
    """Formats the CPU per query, with ratios."""
    yield "| row | server | queries a second | core busy | CPU µs a query | user + system | CPU / floor | CoreDNS / this | goal |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        of = {name: rounds[row.name, name] for name in row.servers() if (row.name, name) in rounds}
        floor, coredns = of.get("echo-sized") or of.get("echo"), of.get("coredns")
        for at, (name, mine) in enumerate(of.items()):
            busy = statistics.median(r["cpu_us"] * r["answered_per_second"] / 1e4 for r in mine)
            yield (f"| {'' if at else row.title} | {TITLES.get(name, name)} | {spread(mine, 'answered_per_second', ',.0f')} | {busy:.0f} % "
                   f"| {spread(mine, 'cpu_us', '.2f')} | {middle(mine, 'user_us'):.2f} + {middle(mine, 'system_us'):.2f} "
                   f"| {quotient(mine, floor)} | {quotient(coredns, mine)} | {goal(row, mine, floor, coredns) if name == 'signpost' else ''} |")


def latency(rows, rounds):
    """Formats the microseconds from a query's due time."""
    quantiles = ("p50", "p90", "p99", "p99.9")
    yield "| row | server | " + " | ".join(quantiles) + " | CPU µs a query |"
    yield "|---" * (len(quantiles) + 3) + "|"
    for row in rows:
        for name in row.servers():
            if mine := rounds.get((row.name, name)):
                flat = [{**r["latency_us"], "cpu_us": r["cpu_us"]} for r in mine]
                cells = [spread(flat, quantile, ",.0f") for quantile in quantiles]
                yield f"| {row.title} | {TITLES.get(name, name)} | {' | '.join(cells)} | {spread(flat, 'cpu_us', '.2f')} |"


def notes(rounds):
    """Returns what a ratio does not show."""
    for row in ROWS:
        one, sized, mine = (rounds.get((row.name, name)) for name in ("echo", "echo-sized", "signpost"))
        if one and sized and mine:
            yield (f"Row `{row.name}`: the ratios are to the floor whose replies have {row.records} records too. It costs {quotient(sized, one)} times the "
                   f"floor with one record; by that one Signpost is at {quotient(mine, one)}.")
    for (row, name), mine in rounds.items():
        if "logged" in mine[0]:
            yield f"{TITLES.get(name, name)}, row `{row}`: {middle(mine, 'logged') * 100:.1f} % of the lines reached the reader of standard output."
        if cut := [r for r in mine if r["truncated"]]:
            yield f"{TITLES.get(name, name)}, row `{row}`: {cut[0]['truncated'] * 100 / cut[0]['answered']:.0f} % of the replies say truncated."


def page(results):
    """Returns the tables for a list of measured rounds."""
    rounds = {}
    for result in results:
        rounds.setdefault((result["row"], result["server"]), []).append(result)
    measured = [row for row in ROWS if any(row.name == name for name, _ in rounds)]
    closed, paced = [row for row in measured if not row.rate], [row for row in measured if row.rate]
    parts = [list(cost(closed, rounds))] if closed else []
    parts += [list(latency(paced, rounds))] if paced else []
    parts += [[f"- {note}" for note in notes(rounds)]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
