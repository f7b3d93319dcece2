#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages from what the program says of itself: man.py PROGRAM FOLDER [DATE]

One page for each command and each command of a command, from `PROGRAM --experimental-dump-help`.
"""
import json
import os
import re
import subprocess
import sys
import textwrap

SECTION = 1
HIDDEN = {"help"}


def escape(text):
    """Text as roff takes it: no backslash, dot or quote of it is an instruction, and dashes can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("→", "\\(->").replace("…", "...")
    return re.sub(r"^\.", r"\\&.", text, flags=re.M)


def paragraphs(text):
    """Filled paragraphs; what is indented stays as it is."""
    out = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        if not block.strip():
            continue
        if all(line.startswith((" ", "\t")) for line in block.split("\n")):
            out += [".PP", ".RS 4", ".nf", escape(textwrap.dedent(block)), ".fi", ".RE"]
        else:
            out += [".PP", escape(block)]
    return out


def flag(argument):
    names = []
    for name in sorted(argument.get("names") or [], key=lambda n: len(n["name"])):
        dashes = "--" if name["kind"] == "long" else "-"
        text = f"\\fB{escape(dashes + name['name'])}\\fR"
        if argument["kind"] == "option":
            text += f" \\fI{escape(argument.get('valueName') or 'value')}\\fR"
        names.append(text)
    return ", ".join(names)


def synopsis(argument):
    if argument["kind"] == "positional":
        text = f"\\fI{escape(argument.get('valueName') or 'value')}\\fR"
    else:
        text = flag({**argument, "names": [argument["preferredName"]]})
    if argument.get("isRepeating"):
        text += " ..."
    return f"[{text}]" if argument.get("isOptional") else text


def describe(argument):
    lines = [".TP"]
    lines.append(synopsis({**argument, "isOptional": False}) if argument["kind"] == "positional" else flag(argument))
    parts = [p for p in (argument.get("abstract"), argument.get("discussion")) if p]
    if argument.get("allValues") and not parts:
        parts.append("One of " + ", ".join(argument["allValues"]) + ".")
    if argument.get("defaultValue") not in (None, "") and argument["kind"] != "flag":
        parts.append(f"Default: {argument['defaultValue']}.")
    lines.append(escape(" ".join(" ".join(parts).split())) or "\\&")
    return lines


def page(command, path, date, version):
    name = "-".join(path)
    arguments = [a for a in command.get("arguments") or [] if a.get("shouldDisplay", True)]
    subcommands = [c for c in command.get("subcommands") or [] if c["commandName"] not in HIDDEN]
    abstract = (command.get("abstract") or name).strip()
    out = [
        f'.\\" From `{" ".join(path)} --help`; do not edit.',
        f'.TH {escape(name.upper())} {SECTION} "{date}" "fairlead {version}" "Fairlead"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(abstract.rstrip('.'))}",
        ".SH SYNOPSIS",
        f"\\fB{escape(' '.join(path))}\\fR",
    ]
    out += [synopsis(a) for a in arguments]
    if subcommands:
        out.append("\\fIcommand\\fR ...")
    if command.get("discussion"):
        out += [".SH DESCRIPTION"] + paragraphs(command["discussion"])
    if subcommands:
        out.append(".SH COMMANDS")
        for sub in subcommands:
            out += [".TP", f"\\fB{escape(sub['commandName'])}\\fR", escape(sub.get("abstract") or "") or "\\&"]
    positional = [a for a in arguments if a["kind"] == "positional"]
    options = [a for a in arguments if a["kind"] != "positional"]
    if positional:
        out.append(".SH ARGUMENTS")
        for argument in positional:
            out += describe(argument)
    if options:
        out.append(".SH OPTIONS")
        for argument in options:
            out += describe(argument)
    if len(path) == 1:
        out += [
            ".SH FILES", ".TP", ".I /etc/fairlead/routes.conf", "The configuration, where a package installed it.",
            ".TP", ".I /var/lib/fairlead", "Journal and ledger.",
            ".TP", ".I /usr/share/fairlead", "Plugins, alert rules and dashboard.",
        ]
    around = ["-".join(path[:-1])] if len(path) > 1 else []
    around += ["-".join(path + [c["commandName"]]) for c in subcommands]
    if around:
        out.append(".SH SEE ALSO")
        pages = [f".BR {escape(p)} ({SECTION})" for p in around]
        out += [p + " ," for p in pages[:-1]] + pages[-1:]
    return "\n".join(out) + "\n"


def main():
    program, folder = sys.argv[1], sys.argv[2]
    date = sys.argv[3] if len(sys.argv) > 3 else ""
    help_text = subprocess.run([program, "--experimental-dump-help"], check=True, capture_output=True, text=True).stdout
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    os.makedirs(folder, exist_ok=True)
    todo = [(json.loads(help_text)["command"], [])]
    while todo:
        command, above = todo.pop()
        path = above + [command["commandName"]]
        with open(os.path.join(folder, f"{'-'.join(path)}.{SECTION}"), "w", encoding="utf-8") as file:
            file.write(page(command, path, date, version))
        todo += [(c, path) for c in command.get("subcommands") or [] if c["commandName"] not in HIDDEN]


main()
