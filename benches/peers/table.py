"""Turns measured rounds into a page of benches/runs."""
import statistics

import rows
from rows import ROWS

TITLES = {"echo": "bare UDP loop (floor)", "echo-sized": "the same, replies as large (floor)", "coredns": "CoreDNS", "before": "Signpost before",
          "signpost": "Signpost", "signpost-bare": "Signpost, `errors` and `kubernetes`", "nsd": "NSD", "knot": "Knot", "unbound": "Unbound"}


class Measured:
    """The rounds of a row with so many names, drawn by a law."""

    def __init__(self, row, names, law):
        self.row, self.names, self.law, self.of = row, names, law, {}

    def floor(self):
        """Returns the floor's rounds: of replies as large, if there are two."""
        return self.of.get("echo-sized") or self.of.get("echo") or []

    def asked(self):
        return rows.asked(self.names, self.law)

    def goal(self):
        """Returns the most that Signpost may cost, by the floor."""
        return self.row.goal if self.names == 1 else self.row.goal_many


def middle(rounds, what):
    return statistics.median(r[what] for r in rounds)


def ranged(values, form):
    """Formats the median, with lowest and highest in ( )."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})" if values else ""


def spread(rounds, what, form):
    return ranged([r[what] for r in rounds], form)


def ratios(mine, other):
    """Returns the CPU of each round by the other's in the same round."""
    others = {r["round"]: r["cpu_us"] for r in other}
    return [r["cpu_us"] / others[r["round"]] for r in mine if r["round"] in others]


def verdict(what, holds):
    return f"{what}: {'met' if holds else '**missed**'}"


def goals(cell):
    """Returns Signpost's goals, and whether they are met."""
    row, mine, floor, many = cell.row, cell.of.get("signpost"), cell.floor(), cell.names > 1
    if not mine:
        return
    if cell.goal() and (by_floor := ratios(mine, floor)):
        yield verdict(f"≤ {cell.goal():.2f} x floor", statistics.median(by_floor) <= cell.goal())
    for name in row.below if many else ():
        if found := cell.of.get(name):
            yield verdict(f"≤ {TITLES.get(name, name)}", middle(mine, "cpu_us") <= middle(found, "cpu_us"))
    for name in row.below_always if many else ():
        if found := ratios(mine, cell.of.get(name, [])):
            yield verdict(f"below {TITLES.get(name, name)} in every round", max(found) < 1)
    if row.goal_coredns and not many and (coredns := cell.of.get("coredns")):
        holds = middle(coredns, "cpu_us") / middle(mine, "cpu_us") >= row.goal_coredns
        yield verdict(f"≥ {row.goal_coredns:g} x CoreDNS", holds)


def summary(cells):
    """Formats each cell in a line: the CPU of each server by the floor of the same round."""
    shown = [name for name in TITLES if name not in ("echo", "echo-sized")] + ["dnsmasq", "dnsdist"]
    shown = sorted((name for name in shown if any(name in cell.of for cell in cells)), key=lambda name: "signpost" not in name)
    yield "| row | names | floor, µs | " + " | ".join(TITLES.get(name, name) for name in shown) + " | goal of Signpost |"
    yield "|---" * (len(shown) + 4) + "|"
    for cell in cells:
        by_floor = [ranged(ratios(cell.of.get(name, []), cell.floor()), ".2f") for name in shown]
        floor = spread(cell.floor(), "cpu_us", ".2f") if cell.floor() else ""
        yield f"| {cell.row.title} | {cell.asked()} | {floor} | {' | '.join(by_floor)} | {'; '.join(goals(cell))} |"


def cost(cells):
    """Formats the CPU per query, with ratios."""
    yield "| row | server | queries a second | core busy | CPU µs a query | user + system | CPU / floor | CoreDNS / this |"
    yield "|---|---|---|---|---|---|---|---|"
    for cell in cells:
        coredns = cell.of.get("coredns")
        for at, (name, mine) in enumerate(cell.of.items()):
            busy = statistics.median(r["cpu_us"] * r["answered_per_second"] / 1e4 for r in mine)
            beside = f"{middle(coredns, 'cpu_us') / middle(mine, 'cpu_us'):.2f}" if coredns else ""
            yield (f"| {'' if at else f'{cell.row.title}, {cell.asked()}'} | {TITLES.get(name, name)} | {spread(mine, 'answered_per_second', ',.0f')} "
                   f"| {busy:.0f} % | {spread(mine, 'cpu_us', '.2f')} | {middle(mine, 'user_us'):.2f} + {middle(mine, 'system_us'):.2f} "
                   f"| {ranged(ratios(mine, cell.floor()), '.2f')} | {beside} |")


def latency(cells):
    """Formats the microseconds from a query's due time, with the goals for many names: half of the
    queries within 5 µs of the floor's half, and p99 at most 1.2 times the floor's."""
    quantiles = ("p50", "p90", "p99", "p99.9")
    yield "| row | server | " + " | ".join(quantiles) + " | CPU µs a query | goal |"
    yield "|---" * (len(quantiles) + 4) + "|"
    for cell in cells:
        rounds = {name: [{**r["latency_us"], "cpu_us": r["cpu_us"]} for r in mine] for name, mine in cell.of.items()}
        for at, (name, mine) in enumerate(rounds.items()):
            wanted = ""
            if name == "signpost" and cell.names > 1 and (floor := rounds.get("echo")):
                wanted = "; ".join((verdict("p50 ≤ floor + 5 µs", middle(mine, "p50") <= middle(floor, "p50") + 5),
                                    verdict("p99 ≤ 1.2 x floor", middle(mine, "p99") <= middle(floor, "p99") * 1.2)))
            changes = f", {cell.row.changes} changes a second" if cell.row.changes and cell.names > 1 else ""
            cells_ = " | ".join(spread(mine, quantile, ",.0f") for quantile in quantiles)
            title = "" if at else f"{cell.row.title}, {cell.asked()}{changes}"
            yield f"| {title} | {TITLES.get(name, name)} | {cells_} | {spread(mine, 'cpu_us', '.2f')} | {wanted} |"


def notes(cells):
    """Returns what a ratio does not show."""
    for cell in cells:
        one, sized, mine = (cell.of.get(name) for name in ("echo", "echo-sized", "signpost"))
        where = f"`{cell.row.name}`, {cell.asked()}"
        if one and sized and mine:
            yield (f"{where}: the ratios are to the floor whose replies have {cell.row.records} records too. It costs {ranged(ratios(sized, one), '.2f')} "
                   f"times the floor with one record; by that one Signpost is at {ranged(ratios(mine, one), '.2f')}.")
        for name, rounds in cell.of.items():
            if rounds[0].get("logged"):
                yield f"{TITLES.get(name, name)}, {where}: {middle(rounds, 'logged') * 100:.1f} % of the lines reached the reader of standard output."
            if cut := [r for r in rounds if r["truncated"]]:
                yield f"{TITLES.get(name, name)}, {where}: {cut[0]['truncated'] * 100 / cut[0]['answered']:.0f} % of the replies say truncated."


def page(results):
    """Returns the tables for a list of measured rounds."""
    cells, of_name = {}, {row.name: row for row in ROWS}
    for result in results:
        key = result["row"], result["names"], result["law"]
        cell = cells.setdefault(key, Measured(of_name[key[0]], *key[1:]))
        cell.of.setdefault(result["server"], []).append(result)
    place = {row.name: at for at, row in enumerate(ROWS)}
    cells = sorted(cells.values(), key=lambda cell: (place[cell.row.name], cell.names, cell.law))
    closed, paced = [cell for cell in cells if not cell.row.rate], [cell for cell in cells if cell.row.rate]
    parts = [["CPU by the floor of the same round:"], list(summary(closed))] if closed else []
    parts += [["Microseconds from when a query was due:"], list(latency(paced))] if paced else []
    parts += [["In full:"], list(cost(closed))] if closed else []
    parts += [[f"- {note}" for note in notes(cells)]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
