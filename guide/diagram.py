#!/usr/bin/env python3
"""Draws guide/diagram.svg, the picture in README.md: `python3 guide/diagram.py`.

It needs the standard library only, and writes the same bytes each time. The picture has a background of its own, and a second set
of colours for readers who prefer dark ones, so that it is legible on both.
"""

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 436

STYLE = """
.card { fill: #ffffff; stroke: #d0d7de }
.thread { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 5 4 }
.source { fill: #ddf4ff; stroke: #0969da }
.handler { fill: #dafbe1; stroke: #1a7f37 }
.queue { fill: #fff8c5; stroke: #9a6700 }
.outside { fill: #eaeef2; stroke: #6e7781 }
.arrow { stroke: #57606a; fill: none; stroke-width: 1.5 }
.head { fill: #57606a }
text { fill: #1f2328; font: 13px ui-sans-serif, system-ui, Helvetica, Arial, sans-serif }
.title { font-weight: 600 }
.small { font-size: 12px }
@media (prefers-color-scheme: dark) {
.card { fill: #0d1117; stroke: #3d444d }
.thread { fill: #151b23; stroke: #656c76 }
.source { fill: #0c2d6b; stroke: #4493f8 }
.handler { fill: #033a16; stroke: #3fb950 }
.queue { fill: #3b2300; stroke: #d29922 }
.outside { fill: #212830; stroke: #656c76 }
.arrow { stroke: #9198a1 }
.head { fill: #9198a1 }
text { fill: #f0f6fc }
}
"""

parts = []


def box(kind, x, y, width, height, *lines, title=False):
    parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
    top = y + height / 2 - 8 * (len(lines) - 1) + 4.5
    for number, line in enumerate(lines):
        style = "title" if title and number == 0 else "small"
        text(x + width / 2, top + 16 * number, line, style, "middle")


def text(x, y, words, style="small", anchor="start"):
    parts.append(f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>')


def arrow(*points, both=False):
    start = ' marker-start="url(#head)"' if both else ""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    parts.append(f'<path class="arrow" d="{path}"{start} marker-end="url(#head)"/>')


def reactor(y, number):
    box("thread", 176, y, 500, 154)
    text(190, y + 20, f"thread {number}: Reactor", "title")
    text(662, y + 20, "one poll (epoll, kqueue), one table, one clock", "small", "end")
    box("queue", 190, y + 66, 86, 44, "mailbox", "(bounded)")
    for top, handler, source, peer in (
        (34, "Accept", "Listener", "connects"),
        (74, "Handler, one for each", "Connection, plain or TLS", "TCP, Unix, TLS"),
        (114, "DatagramHandler", "Datagrams", "UDP, unixgram"),
    ):
        middle = y + top + 14
        box("handler", 308, y + top, 146, 28, handler)
        box("source", 496, y + top, 166, 28, source)
        box("outside", 722, y + top, 116, 28, peer)
        arrow((456, middle), (494, middle), both=True)
        arrow((664, middle), (720, middle), both=True)
    arrow((276, y + 88), (306, y + 88))


def draw():
    box("card", 1, 1, WIDTH - 2, HEIGHT - 2)
    text(176, 30, "Server or Engine: several reactors, one set of limits, one drain", "title")
    text(722, 30, "peers", "title")
    text(22, 30, "other threads", "title")
    box("outside", 22, 105, 112, 58, "Remote", "send, stop,", "adopt, closures", title=True)
    box("outside", 22, 281, 112, 58, "Client", "blocking calls,", "no reactor", title=True)
    for y, number in ((46, 1), (222, 2)):
        reactor(y, number)
    arrow((134, 134), (188, 134))
    arrow((134, 134), (154, 134), (154, 310), (188, 310))
    text(22, 402, "A reactor calls its handlers on its own thread, one at a time: they need no locks and need not be Send. Other threads send")
    text(22, 420, "commands through a bounded mailbox. Every queue has a limit; everything that may wait for a peer can have a deadline.")


def main():
    draw()
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        "<title>Reactors on threads, with listeners, connections and datagram sockets, and other threads that send commands</title>",
        f"<style>{STYLE}</style>",
        f'<defs>{head}<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        *parts,
        "</svg>",
    ]
    Path(__file__).with_name("diagram.svg").write_text("\n".join(lines) + "\n")


main()
