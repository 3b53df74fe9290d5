"""Makes one page of several results."""

import argparse
import pathlib

import page
import results


def main():
    parse = argparse.ArgumentParser(
        prog="perf-scripts/report.sh",
        description="Makes one page of the results of several scripts, or anew of one. Nothing is measured.",
        allow_abbrev=False,
    )
    parse.add_argument("results", nargs="+", type=pathlib.Path, help="results.json, or the directory that it is in")
    parse.add_argument("--out", "-o", type=pathlib.Path, default=pathlib.Path("report.html"), help="the page [default: report.html]")
    parse.add_argument("--title", help="its title")
    parse.add_argument("--markdown", action="store_true", help="print the tables as Markdown instead of writing a page")
    parse.add_argument("--text", action="store_true", help="print the tables instead of writing a page")
    args = parse.parse_args()
    every = [results.read(path / "results.json" if path.is_dir() else path) for path in args.results]
    if args.markdown or args.text:
        for one in every:
            results.print_tables(one, args.markdown)
        return
    args.out.write_text(page.render(every, args.title))
    print(args.out)


if __name__ == "__main__":
    main()
