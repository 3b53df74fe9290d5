"""One HTML page of one or several results: it needs nothing beside itself. The form of the results is told in `results.py`."""

import base64
import html
import json

import machine as machines
import plots
import table

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2329; --soft: #5b646e; --rule: #d9dde1; --shade: #f4f6f7;
  --yes: #0b7a4b; --no: #b3261e; --link: #1b5fb5; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191d; --ink: #e6e9ec; --soft: #9ba5af; --rule: #343b42;
  --shade: #1e2328; --yes: #45c98d; --no: #ff8a80; --link: #8ab4f8; } }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem clamp(.8rem, 3vw, 2rem) 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; }
h1 + p, .soft, figcaption { color: var(--soft); } p { margin: .4rem 0; max-width: 46rem; } a { color: var(--link); }
.machine { background: var(--shade); border-left: 4px solid var(--yes); padding: .6rem .9rem; margin: 1rem 0; font-size: .92rem;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .42rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; white-space: nowrap; }
th { border-bottom-width: 2px; font-weight: 600; } th:first-child, td:first-child { text-align: left; white-space: normal;
  min-width: 13rem; } tbody tr:nth-child(even) { background: var(--shade); }
td small { display: block; color: var(--soft); white-space: normal; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
figure { margin: 1rem 0; } .plot { width: 100%; min-width: 36rem; max-width: 56rem; height: auto; display: block; }
pre, code { font: .86rem/1.45 ui-monospace, monospace; } pre { background: var(--shade); padding: .7rem .9rem; overflow-x: auto; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--link); }
@media (max-width: 38rem) { th:first-child, td:first-child { min-width: 8.5rem; } th, td { padding: .4rem .45rem; } }
nav ul { padding-left: 1.2rem; margin: .4rem 0; }
"""


def escape(words):
    """Text as HTML."""
    return html.escape(str(words), quote=False)


def prose(words):
    """The same, with what is between backquotes as code."""
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _table(head, rows, classes=None):
    """Rows of cells that are HTML already."""
    out = ["<table><thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in head) + "</tr></thead><tbody>"]
    for row in rows:
        out.append("<tr>" + "".join(f"<td{classes(at, cell) if classes else ''}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>")
    return '<div class="wide">' + "\n".join(out) + "</tbody></table></div>"


def _targets(section):
    rows = []
    for row in section["rows"]:
        cells = [escape(cell) for cell in table.cells(row)]
        cells[0] = f"{escape(row['name'])}<small>{escape(row['what'])}</small>"
        if row.get("note"):
            cells[0] += f"<small>{escape(row['note'])}</small>"
        rows.append(cells)

    def mark(at, cell):
        return f' class="{cell}"' if at == 5 and cell in ("yes", "no") else ""

    return _table(table.HEAD, rows, mark)


def _section(section, anchor):
    kind = section["kind"]
    out = [f'<h2 id="{anchor}">{escape(section["title"])}</h2>']
    if section.get("text"):
        out += [f"<p>{prose(part)}</p>" for part in section["text"].split("\n\n")]
    if kind == "targets":
        out.append(_targets(section))
    elif kind == "table":
        out.append(_table(section["head"], [[escape(cell) for cell in row] for row in section["rows"]]))
    elif kind == "lines" or kind == "bars":
        picture = (plots.lines if kind == "lines" else plots.bars)(section)
        caption = f"<figcaption>{escape(section['caption'])}</figcaption>" if section.get("caption") else ""
        out.append(f'<figure><div class="wide">{picture}</div>{caption}</figure>')
    elif kind == "pre":
        out.append(f"<pre>{escape(section['content'])}</pre>")
    elif kind != "text":
        raise ValueError(f"a section of an unknown kind: {kind}")
    return "\n".join(out)


def _report(result, prefix, alone):
    out = []
    if alone:
        out.append(f"<h1>{escape(result['title'])}</h1>")
    else:
        out.append(f'<h1 id="{prefix}" style="margin-top:3rem">{escape(result["title"])}</h1>')
    out.append(f"<p>{prose(result['about'])}</p>")
    lines = [escape(line) for line in machines.lines(result["machine"], result.get("where"))]
    lines.append(f"<code>{escape(result['command'])}</code>")
    out.append('<div class="machine">' + "<br>".join(lines) + "</div>")
    out += [f"<p>{prose(note)}</p>" for note in result["notes"]]
    out += [_section(section, f"{prefix}-{number}") for number, section in enumerate(result["sections"])]
    commands = "\n".join(dict.fromkeys(run["command"] for run in result["runs"] if run.get("command")))
    if commands:
        out.append(f"<details><summary>Every command that was measured</summary><pre>{escape(commands)}</pre></details>")
    raw = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    where = "data:application/json;base64," + base64.b64encode(raw).decode()
    out.append(
        f'<p class="soft"><a download="{escape(result["script"])}.json" href="{where}">Raw data</a>: '
        f"{len(result['runs'])} runs, {len(raw) / 1024:.0f} KiB of JSON, inside this page.</p>"
    )
    return "\n".join(out)


def render(results, title=None):
    """The page."""
    alone = len(results) == 1
    title = title or (results[0]["title"] if alone else "Kiln: measurements")
    body = []
    if not alone:
        links = "".join(
            f'<li><a href="#r{number}">{escape(result["title"])}</a> <span class="soft">{escape(result["machine"]["date"])}</span></li>'
            for number, result in enumerate(results)
        )
        body.append(f"<h1>{escape(title)}</h1><nav><ul>{links}</ul></nav>")
    body += [_report(result, f"r{number}", alone) for number, result in enumerate(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{plots.STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
