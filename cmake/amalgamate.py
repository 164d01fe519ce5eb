#!/usr/bin/env python3
"""Writes loupe.h and loupe.cpp: tensor, autograd, layers, optimizers and models as two files, to paste into an online compiler.

  python3 cmake/amalgamate.py FOLDER
  g++ -std=c++20 -O2 my.cpp loupe.cpp -pthread        (needs the headers of fmt; no other library)

What differs from the library: no files (io/), no pictures (view/), the kernels for every x86-64 processor only, and plain loops in
place of OpenBLAS. The numbers are the same to rounding; the speed is not.

Each source has a namespace without a name for what is its own. In one file all of them are one, so names that two sources use
there get the source's number as an ending.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ["core", "autograd", "layers", "optim", "models"]
LEFT_OUT = {"core/blas.cpp",                    # in its place: core/no_blas.cpp
            "core/kernels/micro/paths.cpp"}     # in its place: amalgamate_parts.cpp
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"].*$')


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def sources():
    found = []
    for folder in FOLDERS:
        for where, _, files in os.walk(os.path.join(ROOT, folder)):
            found += [os.path.relpath(os.path.join(where, f), ROOT) for f in files if f.endswith(".cpp")]
    return sorted(name for name in found if name not in LEFT_OUT)


def own_header(line, name):
    """The header of this tree that an include line names, or None."""
    m = INCLUDE.match(line)
    if not m:
        return None
    if m[1] == '"':
        return os.path.join(os.path.dirname(name), m[2])
    return m[2][len("loupe/"):] if m[2].startswith("loupe/") else None


def text_of(name, done, system, out):
    """Appends a file after the headers that it includes, each once; what it includes of the system goes into `system`."""
    kept = []
    for line in read(name).splitlines():
        header = own_header(line, name)
        if header:
            if header not in done:
                done.add(header)
                out.append("".join(kept))
                kept.clear()
                text_of(header, done, system, out)
        elif INCLUDE.match(line) and "immintrin" not in line:
            system.add(INCLUDE.match(line)[0].strip())
        elif line.strip() != "#pragma once":
            kept.append(line + "\n")
    out.append("".join(kept))


# --- Names of namespaces without a name -----------------------------------------------------------------------------------

def unnamed_parts(text):
    """(begin, end) of each `namespace {`."""
    parts = []
    for m in re.finditer(r"^namespace \{\n", text, flags=re.M):
        short = re.compile(r"[^\n]*(?=\n\}\n)").match(text, m.end())  # one line: the format writes no comment at its end
        parts.append((m.end(), short.end() if short else text.index("\n}  // namespace\n", m.end())))
    return parts


# What a declaration at the start of a line declares: types and constants, and functions.
TYPES = [
    re.compile(r"^(?:template <[^\n]*> )?(?:struct|class|union|enum class|enum) (?:alignas\(\w+\) )?(\w+)", re.M),
    re.compile(r"^(?:template <[^\n]*> )?using (\w+) =", re.M),
    re.compile(r"^(?:thread_local |static |constexpr |const |inline )+[\w:<>,&*\s]*?[\s&*](\w+)(?: =|\{|\[|;)", re.M),
    re.compile(r"^[A-Za-z_][\w:<>,&*]*(?: [\w:<>,&*]+)* (\w+)(?: = |\{|;)", re.M),
    re.compile(r"^constexpr [^;\n]*?, (\w+) = [^,\n]*;", re.M),  # the second of two constants
]
SPACES = [re.compile(r"^namespace (\w+) \{", re.M)]
FUNCTIONS = [
    re.compile(r"^(?!return|if|for|while|using|struct|class|namespace|#|//|\}|template<)[A-Za-z_][\w:<>,&*\s\[\]().]*?[\s&*](\w+)\(", re.M),
]
NO_NAMES = {"operator", "requires", "decltype"}


def declared(text, patterns):
    return {name for pattern in patterns for name in pattern.findall(text)} - NO_NAMES


def own_names(text, patterns):
    """What the source's namespaces without a name declare, but for overloads of what it declares for others, too."""
    parts, rest = unnamed_parts(text), text
    for begin, end in reversed(parts):
        rest = rest[:begin] + rest[end:]
    return {name for begin, end in parts for name in declared(text[begin:end], patterns)} - declared(rest, FUNCTIONS)


def renamed(text, types, functions, ending):
    before = r"(?<![\w.])(?<!->)(?<!::)"  # no member, and nothing that another namespace has
    for name in sorted(types | functions):
        # A local variable or a member may have a function's name: then only calls and definitions are the function.
        local = name not in types and re.search(rf"[\w>][&*]* {name}(?:;|,| =|\)| :|\{{)", text)
        text = re.sub(rf"{before}{name}" + (r"(?=\(|<)" if local else r"\b"), name + ending, text)
    return text


def main():
    out_folder = sys.argv[1]
    os.makedirs(out_folder, exist_ok=True)
    done, system, public = set(), set(), []
    umbrella = [own_header(line, "loupe.h") for line in read("loupe.h").splitlines()]
    for header in umbrella:
        if header and header.split("/")[0] in FOLDERS and header not in done:
            done.add(header)
            text_of(header, done, system, public)
    with open(os.path.join(out_folder, "loupe.h"), "w", encoding="utf-8") as f:
        f.write("#pragma once\n// Loupe in two files, written by cmake/amalgamate.py: this one and loupe.cpp.\n// "
                + read("LICENSE").strip().replace("\n", "\n// ").replace("// \n", "//\n")
                + "\n#ifndef FMT_HEADER_ONLY\n#define FMT_HEADER_ONLY\n#endif\n" + "\n".join(sorted(system)) + "\n\n"
                + "".join(public))

    texts, system = [], set()
    for name in sources() + ["cmake/amalgamate_parts.cpp"]:
        parts = []
        text_of(name, done, system, parts)
        texts.append((name, "".join(parts)))
    users = {}  # of a name: the sources that declare it, and the header
    for name, text in [("loupe.h", "".join(public))] + texts:
        for one in declared(text, TYPES + FUNCTIONS + SPACES):
            users.setdefault(one, set()).add(name)
    with open(os.path.join(out_folder, "loupe.cpp"), "w", encoding="utf-8") as f:
        f.write('// Loupe in two files, written by cmake/amalgamate.py: loupe.h and this one.\n#include "loupe.h"\n\n'
                "#define LOUPE_LEVEL baseline\n#define LOUPE_LEVEL_baseline\n" + "\n".join(sorted(system)) + "\n")
        for number, (name, text) in enumerate(texts):
            types, functions = ({one for one in own_names(text, patterns) if len(users[one]) > 1}
                                for patterns in (TYPES, FUNCTIONS))
            f.write(f"\n// ---------- {name} ----------\n" + renamed(text, types, functions, f"_{number}"))


if __name__ == "__main__":
    main()
