#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares what the installed headers declare with what the version script lists and the shared library exports.

usage: check-symbols.py CC PMEMLEASE_H VERSION_SCRIPT LIBRARY

pmemlease.h includes every installed header. TAP on standard output.
"""

import re
import subprocess
import sys


def declared(cc, header):
    """Names of functions and variables declared outside of any body: the preprocessor takes comments and macros away."""
    text = subprocess.run([*cc.split(), '-std=gnu17', '-D_GNU_SOURCE', '-E', '-P', header],
                          check=True, capture_output=True, text=True).stdout
    flat, depth = [], 0
    for char in text:
        if char == '{':
            depth += 1
            flat.append(' {} ' if depth == 1 else '')
        elif char == '}':
            depth -= 1
        elif depth == 0:
            flat.append(char)
    names = set()
    for statement in ''.join(flat).split(';'):
        if re.match(r'\s*(typedef|static)\b', statement):
            continue
        function = re.search(r'\b(pml_\w+)\s*\(', statement)
        variable = re.search(r'\bextern\b[^(]*?\b(pml_\w+)\s*$', statement)
        if function or variable:
            names.add((function or variable).group(1))
    return names


def listed(script):
    with open(script, encoding='utf-8') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    return re.findall(r'^\s*([\w*]+);', text.split('global:')[1].split('local:')[0], flags=re.M)


def exported(library):
    out = subprocess.run(['nm', '-D', '--defined-only', '--format=posix', library],
                         check=True, capture_output=True, text=True).stdout
    # The node of the version script is an absolute symbol (type A) of its own.
    return {line.split()[0].split('@')[0] for line in out.splitlines() if line.split()[1] != 'A'}


def main():
    cc, header, script, library = sys.argv[1:]
    headers, names, symbols = declared(cc, header), listed(script), exported(library)
    checks = [
        ('the headers declare something', [] if headers else ['nothing found: has the form of the headers changed?']),
        ('the version script is sorted, without doubles', [] if names == sorted(set(names)) else ['it is not']),
        ('every declaration is in the version script', sorted(headers - set(names))),
        ('the version script lists nothing else', sorted(set(names) - headers)),
        ('every declaration is exported', sorted(headers - symbols)),
        ('nothing else is exported', sorted(symbols - headers)),
    ]
    print(f'1..{len(checks)}')
    for i, (what, wrong) in enumerate(checks, 1):
        print(f'{"not ok" if wrong else "ok"} {i} - {what}')
        for name in wrong:
            print(f'# {name}')
    return 1 if any(wrong for _, wrong in checks) else 0


if __name__ == '__main__':
    sys.exit(main())
