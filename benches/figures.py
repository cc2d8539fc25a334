#!/usr/bin/env python3
"""Measures the echo example, bare mio, tokio and libuv in one run and draws benches/figures.svg, the plot in README.md.

`python3 benches/figures.py` builds the peers, runs `cargo bench --bench echo` for about five minutes, keeps what it prints in
benches/figures.txt, and draws. With `--draw` it only draws what figures.txt holds. It needs Linux, cargo, a C compiler and libuv's
headers (Debian: libuv1-dev).
"""

import re
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / "target" / "peers"

SCENARIOS = [
    ("tcp-64x64", "TCP, 64 × 64 B"),
    ("unix-64x64", "Unix, 64 × 64 B"),
    ("tcp-1000x1k", "TCP, 1,000 × 1 KiB"),
    ("tcp-4x256k", "TCP, 4 × 256 KiB"),
    ("churn", "accept, echo, close"),
]
SERVERS = ["windlass", "tokio", "libuv"]

STYLE = """
.card { fill: #ffffff; stroke: #d0d7de }
.windlass { fill: #0969da }
.tokio { fill: #bc4c00 }
.libuv { fill: #6e7781 }
.bare { stroke: #1a7f37; stroke-dasharray: 4 3 }
text { fill: #1f2328; font: 12px ui-sans-serif, system-ui, Helvetica, Arial, sans-serif }
.title { font-size: 13px; font-weight: 600 }
@media (prefers-color-scheme: dark) {
.card { fill: #0d1117; stroke: #3d444d }
.windlass { fill: #4493f8 }
.tokio { fill: #db6d28 }
.libuv { fill: #9198a1 }
.bare { stroke: #3fb950 }
text { fill: #f0f6fc }
}
"""


def measure():
    TARGET.mkdir(parents=True, exist_ok=True)
    manifest = HERE / "peers" / "Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest, "--target-dir", TARGET], check=True)
    subprocess.run(["cc", "-O2", "-o", TARGET / "libuv-echo", HERE / "peers" / "libuv_echo.c", "-luv"], check=True)
    servers = [f"tokio={TARGET}/release/tokio-echo", f"libuv={TARGET}/libuv-echo"]
    names = [name for name, _ in SCENARIOS] + ["memory"]
    command = ["cargo", "bench", "--bench", "echo", "--", *names]
    for server in servers:
        command += ["--server", server]
    print("+", *command, flush=True)
    # A missed bound ends it with 1, and has been printed.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    (HERE / "figures.txt").write_text(done.stdout.replace(str(ROOT) + "/", ""))


def read(text):
    """Ratios to bare by scenario and server, and bytes per idle connection by server."""
    ratios, memory, scenario = {}, {}, None
    for line in text.splitlines():
        if match := re.match(r"(\S+): ", line):
            scenario = match[1]
            ratios.setdefault(scenario, {})
        elif match := re.match(r"\s+(\S+): B per connection: ([\d.]+)", line):
            memory["windlass" if match[1] == "memory" else match[1]] = float(match[2])
        elif match := re.match(r"\s+(\S+)(?: / bare)?: ([\d.]+)", line):
            ratios[scenario]["windlass" if match[1] == scenario else match[1]] = float(match[2])
    return ratios, memory


def panel(parts, top, title, rows, most, show, yardstick=None):
    """One group of bars for each row; returns where the next panel begins."""
    left, width = 190, 560
    parts.append(f'<text class="title" x="24" y="{top}">{escape(title)}</text>')
    y = begin = top + 14
    for name, values in rows:
        parts.append(f'<text x="{left - 12}" y="{y + 7 * len(values) + 4}" text-anchor="end">{escape(name)}</text>')
        for server, value in values:
            parts.append(f'<rect class="{server}" x="{left}" y="{y}" width="{value / most * width:.1f}" height="11" rx="2"/>')
            parts.append(f'<text x="{left + value / most * width + 6:.1f}" y="{y + 10}">{show(value)}</text>')
            y += 14
        y += 10
    if yardstick is not None:
        x = left + yardstick / most * width
        parts.append(f'<line class="bare" x1="{x:.1f}" y1="{begin - 4}" x2="{x:.1f}" y2="{y - 6}"/>')
    return y + 22


def draw(ratios, memory):
    parts = []
    x = 24
    for server, words in [("windlass", "windlass"), ("tokio", "tokio, one thread"), ("libuv", "libuv")]:
        parts.append(f'<rect class="{server}" x="{x}" y="20" width="12" height="12" rx="2"/><text x="{x + 18}" y="30">{words}</text>')
        x += 150
    parts.append(f'<line class="bare" x1="{x}" y1="26" x2="{x + 22}" y2="26"/><text x="{x + 28}" y="30">bare mio</text>')
    rows = [(words, [(server, ratios[name][server]) for server in SERVERS if server in ratios[name]]) for name, words in SCENARIOS]
    most = max(value for _, values in rows for _, value in values) * 1.1
    top = panel(parts, 66, "Server processor time beside bare mio (less is better)", rows, most, "{:.2f}".format, 1.0)
    values = [(server, memory[server]) for server in SERVERS if server in memory]
    most = max(value for _, value in values) * 1.1
    title = "Resident bytes per idle TCP connection (less is better)"
    height = panel(parts, top, title, [("", values)], most, "{:,.0f}".format) - 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" width="800" height="{height}" role="img">'
    name = "<title>windlass beside tokio, libuv and bare mio</title>"
    card = f'<rect class="card" x="0.5" y="0.5" width="799" height="{height - 1}" rx="8"/>'
    text = "\n".join([head, name, f"<style>{STYLE}</style>", card, *parts, "</svg>", ""])
    (HERE / "figures.svg").write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] != ["--draw"]:
        measure()
    draw(*read((HERE / "figures.txt").read_text()))
