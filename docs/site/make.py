#!/usr/bin/env python3
"""The guide as one HTML page that needs no network: every chapter, its figures inside, a contents list and a search.

    docs/site/make.py OUT        needs cmark-gfm; the target is `site`

Chapters come in the order of docs/guide/README.md. Links between chapters become links within the page; other links of
the repository become text, for the page stands alone.
"""
import base64
import html
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
GUIDE = HERE.parent / "guide"
KEYWORDS = ("alignas auto bool break case catch char class const constexpr continue default delete do double else enum "
            "explicit false final float for if inline int namespace new noexcept nullptr operator override private public "
            "return sizeof static struct switch template this throw true try using virtual void while").split()
TOKEN = re.compile(r"(?P<comment>//[^\n]*|^#\w+)|(?P<string>&quot;.*?&quot;)|(?P<word>\b[A-Za-z_]\w*\b)|(?P<number>\b\d[\w.]*)",
                   re.M)


def to_html(markdown):
    """The page's HTML, by the converter of GitHub's dialect."""
    done = subprocess.run(["cmark-gfm", "--unsafe", "-e", "table", "-e", "autolink"], input=markdown, text=True,
                          capture_output=True, check=True)
    return done.stdout


def coloured(code):
    """C++ as HTML with its comments, strings, keywords and numbers marked. `code` is HTML already."""
    def mark(found):
        kind, text = found.lastgroup, found.group()
        if kind == "word":
            return f'<span class="k">{text}</span>' if text in KEYWORDS else text
        return f'<span class="{kind[0]}">{text}</span>'
    return TOKEN.sub(mark, code)


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", html.unescape(re.sub("<[^>]*>", "", text)).lower()).strip("-")


class Chapter:
    def __init__(self, path):
        self.id = path.stem
        body = to_html(path.read_text())
        body = re.sub(r'<pre><code class="language-cpp">(.*?)</code></pre>',
                      lambda m: f'<pre class="cpp"><code>{coloured(m[1])}</code></pre>', body, flags=re.S)
        body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
        body = re.sub(r"<(/?)h([1-4])>", lambda m: f"<{m[1]}h{int(m[2]) + 1}>", body)
        body = re.sub(r"<h([2-5])>(.*?)</h\1>", self.heading, body, flags=re.S)
        body = re.sub(r'<img src="([^"]*)"', lambda m: f'<img src="{inlined(path.parent / m[1])}"', body)
        body = re.sub(r'<a href="([^"]*)">(.*?)</a>', linked, body, flags=re.S)
        body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
        self.html = f'<article id="{self.id}">\n{body}</article>\n'

    def heading(self, found):
        level, text = int(found[1]), found[2]
        if level == 2:
            self.title = text
            return f"<h2>{text}</h2>"
        return f'<h{level} id="{self.id}-{slug(text)}">{text}</h{level}>'


def inlined(path):
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def linked(found):
    """A link to a chapter points into the page, one to the web stays, another becomes its text."""
    target, text = found[1], found[2]
    chapter = re.match(r"(?:.*/)?(\d\d_\w+)\.md(?:#(.*))?$", target)
    if chapter:
        part = f"-{chapter[2]}" if chapter[2] else ""
        return f'<a href="#{chapter[1]}{part}">{text}</a>'
    if target.startswith(("http://", "https://", "#")):
        return found[0]
    return f'<span class="elsewhere" title="{html.escape(target)}, in the repository">{text}</span>'


def main():
    out = pathlib.Path(sys.argv[1])
    names = re.findall(r"\]\((\d\d_\w+\.md)\)", (GUIDE / "README.md").read_text())
    chapters = [Chapter(GUIDE / name) for name in dict.fromkeys(names)]
    missing = {p.name for p in GUIDE.glob("[0-9]*.md")} - set(names)
    if missing:
        sys.exit(f"not in the list of docs/guide/README.md: {', '.join(sorted(missing))}")
    contents = "".join(f'<li><a href="#{c.id}">{c.title}</a></li>' for c in chapters)
    page = (HERE / "page.html").read_text()
    for name, text in (("CONTENTS", contents), ("CHAPTERS", "".join(c.html for c in chapters))):
        page = page.replace(f"@{name}@", text)
    out.write_text(page)
    print(f"{out}: {len(chapters)} chapters, {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
