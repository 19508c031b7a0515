#!/usr/bin/python3
"""Writes the manual pages from what the programs say about themselves, so that they cannot go stale.

    deploy/man/make.py FLOTILLAD FLOTILLA DIRECTORY      # flotilla.1 flotillad.8 flotilla.yaml.5
"""
import pathlib
import re
import subprocess
import sys

FILES = """
/etc/flotilla/flotilla.yaml|the configuration, see flotilla.yaml(5)
/etc/default/flotilla|variables of the environment for the unit
/var/lib/flotilla|the node's data, unless node.data_dir says otherwise
"""
SIGNALS = """
SIGTERM, SIGINT|hand leaderships to other nodes, end calls, close; a second one: at once
SIGHUP|read the configuration again: keys marked [reload] change, a wrong file changes nothing
"""
EXIT_DAEMON = """
0|stopped as asked; verify: all is well
1|did not start, or its storage failed; verify, dump-log, recover-metadata: the directory cannot be read, or a node runs in it
5|recover-metadata: nothing was done
64|wrong arguments
65|verify, dump-log, recover-metadata: something is damaged
78|wrong configuration
"""
EXIT_CLI = """
0|all is well
1|failed
2|wrong usage
3|no broker was reached
4|not found
5|cannot be done as things are; node safe-to-stop: it is not safe
6|not allowed
7|took too long; --watch: nothing changed for --timeout
8|some of many failed
9|cluster health: unhealthy
130|interrupted
"""


def said_by(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def roff(text):
    text = text.replace("\\", "\\(rs").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def header(name, section, about):
    return [f'.TH {name} {section} "" "Flotilla" "Flotilla"', ".SH NAME", f"{roff(name)} \\- {roff(about)}"]


def table(text):
    out = []
    for line in text.strip().splitlines():
        term, meaning = line.split("|")
        out += [".TP", ".B " + roff(term), roff(meaning)]
    return out


class Help:
    """One page of --help: what it is for, how it is called, and its lists by title."""

    def __init__(self, text):
        self.about, self.usage, self.lists = "", "", {}
        items = None
        for line in text.splitlines():
            item = re.match(r" {2,4}(\S.*?)(?: {2,}(\S.*))?$", line)
            if line.startswith("Usage: "):
                self.usage = re.sub(r"^\S*/", "", line.removeprefix("Usage: "))
            elif line.startswith("[Option Group: "):
                items = self.lists.setdefault("Options", [])
            elif re.fullmatch(r"\S[^:]*:", line):
                items = self.lists.setdefault(line[:-1], [])
            elif items is None:
                self.about += line.strip() + " " if line.strip() else ""
            elif re.match(r" {20,}\S", line) and items:
                items[-1][1] = f"{items[-1][1]} {line.strip()}".strip()
            elif item and not item[1].startswith("[") and not item[1].endswith(":"):
                items.append([item[1], item[2] or ""])
        self.about = self.about.strip()

    def options(self, but=()):
        out = []
        for title in ("Positionals", "Options"):
            for name, meaning in self.lists.get(title, []):
                if not name.startswith(tuple(but) or "\0"):
                    name = re.sub(r":(value in )?\{(.*?)\}( OR \{.*?\})?",
                                  lambda match: " " + "|".join(part.split("->")[0] for part in match[2].split(",")), name)
                    out += [".TP", ".B " + roff(name), roff(meaning or "see above")]
        return out


def commands(program, path=()):
    """Every command that does something: (path, Help)."""
    help_ = Help(said_by(program, *path, "--help"))
    inner = [name for name, _ in help_.lists.get("Subcommands", [])]
    if not inner:
        yield path, help_
    for name in inner:
        yield from commands(program, (*path, name))


def cli_page(program):
    top = Help(said_by(program, "--help"))
    out = header("flotilla", 1, top.about.rstrip("."))
    out += [".SH SYNOPSIS", ".B flotilla", "[OPTIONS] COMMAND"]
    out += [".SH OPTIONS", *top.options(), ".SH COMMANDS"]
    for path, help_ in commands(program):
        out += [f'.SS "{roff(help_.usage or "flotilla " + " ".join(path))}"', roff(help_.about), *help_.options(but=["-h,"])]
    out += [".SH EXIT STATUS", *table(EXIT_CLI)]
    return out + [".SH SEE ALSO", "flotillad(8), flotilla.yaml(5)"]


def daemon_page(program):
    help_ = Help(said_by(program, "--help"))
    out = header("flotillad", 8, "one node of a Flotilla cluster")
    out += [".SH SYNOPSIS", ".B flotillad", roff("--config FILE"), ".br", ".B flotillad", roff("verify DIRECTORY"), ".br", ".B flotillad",
            roff("dump-log DIRECTORY [--group G]"), ".br", ".B flotillad", roff("recover-metadata DIRECTORY [--i-accept-data-loss]")]
    out += [".SH DESCRIPTION", "Runs in the foreground, in the way that systemd's Type=notify expects: ready when its ports are "
            "open and what is on its disk is read. It does not wait for other nodes."]
    out += [".SH OPTIONS", *help_.options(), ".SH COMMANDS", "For a node that is stopped. verify and dump-log change nothing in its directory; recover-metadata does only when told so."]
    for path, inner in commands(program):
        out += [f'.SS "{roff(inner.usage)}"', roff(inner.about), *inner.options(but=["-h,"])]
    out += [".SH SIGNALS", *table(SIGNALS), ".SH FILES", *table(FILES), ".SH EXIT STATUS", *table(EXIT_DAEMON)]
    return out + [".SH SEE ALSO", "flotilla(1), flotilla.yaml(5)"]


def config_page(program):
    lines = said_by(program, "--print-default-config").splitlines()
    out = header("flotilla.yaml", 5, "configuration of flotillad")
    comment, section, begun = [], None, False
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            comment.append(text[1:].strip())
        elif not text:
            if not begun:
                out += [".SH DESCRIPTION", *[roff(part) or ".PP" for part in comment]]
                begun = True
            comment = []
        elif line == text:
            section = text[:-1]
            out += [f".SH {section.upper()}", roff(" ".join(comment))]
            comment = []
        else:
            key, value = text.split(":", 1)
            out += [".TP", f".B {roff(section + '.' + key)}", roff(" ".join(comment)), f"Default: {roff(value.strip())}"]
            comment = []
    return out + [".SH SEE ALSO", "flotillad(8)"]


def main():
    daemon, cli, directory = sys.argv[1:]
    pages = {"flotilla.1": cli_page(cli), "flotillad.8": daemon_page(daemon), "flotilla.yaml.5": config_page(daemon)}
    for name, lines in pages.items():
        (pathlib.Path(directory) / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
