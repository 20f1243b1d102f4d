"""HTML: what of a page is its text, where words end, what is left out, and in how much time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("bs4", reason="the extra `documents` is not installed")
pytest.importorskip("markdownify", reason="the extra `documents` is not installed")

from hybrid_search.corpus.web_markdown import APART
from hybrid_search.corpus.web_page import MAX_DEPTH, read_page


def words(html: str) -> list[str]:
    return read_page(html).markdown.split()


# ---- where words end

TABLE = ("caption", "thead", "tbody", "tfoot", "tr", "td", "th")
VOID = ("area", "br", "embed", "hr", "img", "input", "frameset")


@pytest.mark.parametrize("name", sorted(APART.difference(TABLE, VOID, ("pre", "listing", "plaintext", "xmp", "nav"))))
def test_what_a_browser_sets_apart_stands_apart(name):
    found = words(f"<p>alpha</p>beta<{name}>gamma</{name}>delta<{name}>epsilon</{name}>")
    assert [word for word in found if word.strip("#-:>12.")] == ["alpha", "beta", "gamma", "delta", "epsilon"]


@pytest.mark.parametrize("name", VOID)
def test_so_does_what_holds_nothing(name):
    assert [word for word in words(f"alpha<{name}>beta") if word != "---"] == ["alpha", "beta"]


@pytest.mark.parametrize(
    "name",
    [
        "b",
        "i",
        "em",
        "strong",
        "span",
        "a",
        "sub",
        "sup",
        "small",
        "font",
        "abbr",
        "mark",
        "u",
        "label",
        "x-own",
        "wbr",
        "bdi",
    ],
)
def test_what_it_does_not_set_apart_ends_no_word(name):
    assert words(f"<p>H<{name}>2</{name}>O").pop(0).replace("*", "") == "H2O"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<details><summary>alpha</summary>beta</details><button>gamma</button>delta", "alpha beta gamma delta"),
        ("<table><tr><td>alpha<td>beta<tr><td>gamma</table>delta", "alpha beta gamma delta"),
        ("<td>alpha</td><td>beta</td>", "alpha beta"),
        ("<table><caption>alpha</caption><tr><th>beta</th></tr></table>", "alpha beta"),
        ("<p>alpha<p>beta<ul><li>gamma<li>delta</ul>", "alpha beta gamma delta"),
        ("<table><tr><td><p>alpha</p><p>beta</p><ul><li>gamma</ul></td></tr></table>", "alpha beta gamma"),
        ("<h2>alpha<br>beta<div>gamma</div></h2>", "alpha beta gamma"),
        ("<span style='color: red; display:block'>alpha</span>beta", "alpha beta"),
        ("<span style='DISPLAY : Inline-Block !important'>alpha</span>beta", "alpha beta"),
        ("<span style='display:inline'>alpha</span>beta", "alphabeta"),
        ("<a href=x><div>alpha</div><div>beta</div></a>", "alpha beta"),
        ("<svg><text>alpha</text></svg>beta", "alpha beta"),
        ("<ruby>alpha<rp>(</rp><rt>beta</rt><rp>)</rp></ruby>", "alpha ( beta )"),
        ("<dl><dt>alpha<dd>beta<dt>gamma<dd>delta</dl>", "alpha beta gamma delta"),
        ("al&shy;pha<!-- x -->bet&#97;&nbsp;g&amp;a", "alphabeta g&a"),
    ],
)
def test_more_of_it(html, text):
    plain = "".join(char for char in read_page(html).markdown if char not in "|#-:[]").replace("(x)", "")
    assert plain.split() == text.split()


# ---- what is text


@pytest.mark.parametrize(
    "html",
    [
        '<script>var s="<noscript>"; document.write(s)</script><p>alpha</p><noscript>no</noscript><p>beta</p>',
        "<script>'<template>'</script>alpha<template>no</template> beta",
        "<!-- <script> <noscript> <template> -->alpha<!-- </noscript> --> beta",
        '<p title="<noscript>">alpha</p><p data-x="</noscript><style>">beta</p>',
        "<scripture>alpha</scripture> <template-x>beta</template-x>",
        "<noscripts>alpha</noscripts> <styled>beta</styled>",
        "<style>/* <noscript> */ p::before { content: '<script>' }</style>alpha <SCRIPT>no</SCRIPT> beta",
        "<textarea>alpha</textarea><noscript><p>no<div>no</noscript>beta",
        "<script>a</script><script src=x></script>alpha<script>b</script> beta",
        "<script type='text/template'><p>no</p></script>alpha beta",
        "<svg><style>no</style><script>no</script></svg>alpha beta",
        "<?php echo 'no' ?>alpha <!DOCTYPE html> beta",
    ],
)
def test_scripts_styles_and_comments_are_none_and_what_stands_between_them_is(html):
    assert words(html) == ["alpha", "beta"]


@pytest.mark.parametrize(
    ("attributes", "is_seen"),
    [
        ("hidden", False),
        ("hidden=''", False),
        ("hidden='until-found'", True),
        ("style='display:none'", False),
        ("style='color:red;display : none ;x:y'", False),
        ("style='visibility:hidden'", False),
        ("style='display:none;display:block'", True),
        ("style='--display:none'", True),
        ("aria-hidden='true'", True),
        ("class='hidden'", True),
        ("data-hidden", True),
    ],
)
def test_what_is_hidden_is_left_out_and_counted(attributes, is_seen):
    found = read_page(f"<p>alpha</p><div {attributes}><p>beta</p><p hidden>no</p></div>")
    assert found.markdown.split() == (["alpha", "beta"] if is_seen else ["alpha"])
    assert found.passed_over == {"hidden elements": 1}


NAVIGATION = [
    "<nav><a href=/a>Home</a> <ul><li>Shop</ul></nav>",
    "<div role='navigation'><p>Home</p></div>",
    "<div class='x' ROLE='Navigation banner'>Home</div>",
    "<ol class='breadcrumb'><li>Home</ol>",
    "<div aria-label='Breadcrumbs'>Home</div>",
    "<a class='skip-link' href='#main'>Skip to main content</a>",
    "<a href='#nav'>Jump to navigation</a>",
]


@pytest.mark.parametrize("html", NAVIGATION)
def test_navigation_is_left_out_and_counted(html):
    found = read_page(f"<header>{html}<h1>Title</h1></header><p>The text of the page.</p><footer>By Ann</footer>")
    assert found.markdown == "# Title\n\nThe text of the page.\n\nBy Ann"
    assert found.passed_over == {"navigation": 1}


def test_a_page_that_is_nothing_else_keeps_it():
    links = "".join(f"<li><a href=/{n}>Chapter number {n}</a>" for n in range(40))
    found = read_page(f"<h1>Contents</h1><nav><ul>{links}</ul></nav><script>no</script>")
    assert "Chapter number 39" in found.markdown
    assert found.passed_over == {}
    assert read_page("<nav>Home</nav>").markdown == "Home"


@pytest.mark.parametrize(
    "html",
    [
        '<a class="headerlink" href="#install" title="Link to this heading">¶</a>',
        '<a class="headerlink" href="#install" title="Permanent link">&para;</a>',
        '<a href="page.html#install">#</a>',
        '<a class="hash-link" href="#install">&#8203;</a>',
        '<a class="doc-anchor" href="#install">§</a>',
        '<a class="anchorjs-link" href="#install"> 🔗 </a>',
    ],
)
def test_marks_that_link_to_their_own_heading_are_left_out(html):
    found = read_page(f"<h2>Install{html}</h2><p>Run it.</p><dl><dt>f(x){html}</dt><dd>Does it.</dd></dl>")
    assert found.markdown == "## Install\n\nRun it.\n\nf(x)\n:   Does it."
    assert found.passed_over == {"permalinks": 2}


def test_footnotes_and_other_short_links_stay():
    found = read_page("<p>So<a href='#f1'>1</a> <a href='/c'>C</a> <a href='#top'>up</a></p>")
    assert (found.markdown, found.passed_over) == ("So1 [C](/c) up", {})


def test_forms_show_their_labels_and_values():
    html = """<form><fieldset><legend>Order</legend><label>Name <input value="Ann Lee"></label>
    <input type=hidden name=t value=secret><input type=password value=secret><input placeholder="e-mail">
    <input type=checkbox checked> paid <input type=radio> later<select><option>red<option selected>blue
    <optgroup label=More><option label=green></option></optgroup></select><textarea>a note</textarea>
    <input type=submit value=Send><input type=image alt=Go src=x.png></fieldset></form>"""
    shown = "Order Name Ann Lee e-mail [x] paid [ ] later red blue More green a note Send Go"
    assert " ".join(words(html)) == shown


def test_images_keep_their_text_and_embedded_ones_are_counted():
    html = """<img src="a b.png" alt="A&#10;cat"><img src="data:image/png;base64,iVBO" alt="Another">
    <img src=" DATA:image/gif;base64,R0" data-src=c.png alt=Third><h1><img src=x.png alt=Logo></h1>"""
    found = read_page(html)
    assert " ".join(found.markdown.split()) == "![A cat](a%20b.png) Another ![Third](c.png) # Logo"
    assert found.passed_over == {"images": 2}


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        ("<table><tr><th>A<th>B<tr><td>1<td>2</table>", "| A | B |\n| --- | --- |\n| 1 | 2 |"),
        ("<table><thead><tr><td>A<td>B<tbody><tr><td>1<td>2</table>", "| A | B |\n| --- | --- |\n| 1 | 2 |"),
        ("<table><tr><td>1<td>2<tr><td>3<td>4</table>", "|  |  |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"),
        (
            "<table><tr><th colspan=2>A<th>B<tr><td>1|x<td>2<td>3</table>",
            "| A | | B |\n| --- | --- | --- |\n| 1\\|x | 2 | 3 |",
        ),
        ("<ol start=9><li>a<li>b<p>c</ol>", "9. a\n10. b\n\n    c"),
        ("<ul><li>a<ul><li>b<li>c</ul><li>d</ul>", "- a\n  - b\n  - c\n- d"),
        ("<pre>\n a\n\n  b ```\n</pre>", "````\n a\n\n  b ```\n````"),
        ("<pre><code>if a:\n    b()\n</code></pre>", "```\nif a:\n    b()\n```"),
        ("<h1>A <em>b</em></h1><h6>c</h6>", "# A *b*\n\n###### c"),
        ("snake_case *x* 2 * 3 <code>a_b</code>", "snake_case *x* 2 * 3 `a_b`"),
        ("<a href='http://x.y/a (b)'> c </a>d", "[c](http://x.y/a%20%28b%29) d"),
        ("<a href='javascript:x()'>c</a> <a href='mailto:a@b.c'>d</a> <a>e</a>", "c d e"),
        ("a<br>b<br/>c", "a\nb\nc"),
    ],
)
def test_markdown(html, markdown):
    assert read_page(html).markdown == markdown


def test_the_title_is_that_of_the_page():
    assert read_page("<svg><title>no</title></svg><head><title>\n A &amp;  b </title><title>c</title>").title == "A & b"
    assert read_page("<p>no title").title == ""


@pytest.mark.parametrize("html", ["http://x.y", "notes.txt", "<?xml version='1.0'?><p>alpha</p>", "", "\0"])
def test_nothing_is_said_about_what_looks_like_something_else(html):
    read_page(html)


def test_text_after_the_body_and_without_one_is_read():
    assert words("<html><head><p>alpha</head><body>beta</body></html>gamma") == ["alpha", "beta", "gamma"]


# ---- hostile pages


@pytest.mark.parametrize("depth", [MAX_DEPTH - 5, MAX_DEPTH + 5, 100_000])
@pytest.mark.parametrize(
    ("name", "joint"), [("div", "alpha beta gamma"), ("b", "alphabetagamma"), ("section", "alpha beta gamma")]
)
def test_elements_nested_deep_are_read(depth, name, joint):
    html = (
        f"<{name}>" * depth
        + f"alpha<{name}>beta<script>no</script><i hidden>no</i></{name}>gamma"
        + f"</{name}>" * depth
    )
    assert read_page(html).markdown.replace("*", "").split() == joint.split()


def filled(unit: str, size: int = 60_000) -> str:
    return unit * (size // len(unit))


HOSTILE = {
    "open comments": filled("<!--"),
    "open tags": filled("<a "),
    "open attributes": filled('<a b="'),
    "open declarations": filled("<!"),
    "open sections": filled("<![CDATA["),
    "unknown sections": filled("<![x "),
    "instructions": filled("<?"),
    "end tags": filled("</"),
    "ampersands": filled("&"),
    "blanks": "<p>a" + " " * 200_000 + "b</p>",
    "line ends": "<p>a" + "\n " * 100_000 + "b</p>",
    "scripts": filled("<script></script>"),
    "hidden": filled("<p hidden>a</p>"),
    "navigation": filled("<nav>a</nav>"),
    "templates": filled("<template>"),
    "titles": filled("<title>a"),
    "titles of pictures": filled("<svg><title>"),
    "items": "<ol>" + filled("<li>a"),
    "lists": filled("<ul><li>a"),
    "header rows": "<table><thead>" + filled("<tr><td>a</td></tr>"),
    "tables": filled("<table><tr><td>a"),
    "paragraphs": filled("<p>a"),
    "links": filled("<a href='#x'>a"),
    "ticks": "<pre>" + "`" * 200_000 + "</pre>",
    "styles": "<p style='" + filled("display:block;") + "'>a",
    "a heading": "<h1>" + "a " * 100_000 + "</h1>",
    "a picture": "<img alt=a src='data:image/png;base64," + "A" * 200_000 + "'>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_time_does_not_grow_with_the_square(kind):
    began = time.perf_counter()
    read_page(HOSTILE[kind])
    assert time.perf_counter() - began < 10  # at most 1; the square of it takes longer


pieces = [
    "<p>",
    "</p>",
    "<div>",
    "</div>",
    "<b>",
    "</b>",
    "<table>",
    "<tr>",
    "<td>",
    "</table>",
    "<ul>",
    "<li>",
    "</ul>",
]
pieces += [
    "<a href='#x'>",
    "</a>",
    "<nav>",
    "</nav>",
    "<pre>",
    "</pre>",
    "<select>",
    "<option>",
    "<br>",
    "<!--",
    "-->",
    "<![x",
]
pieces += [
    "&amp;",
    "&#0;",
    "<",
    ">",
    "word ",
    " ",
    "\n",
    "\0",
    "é",
    "<h1>",
    "</h1>",
    "<script>",
    "</script>",
    "<input value=v>",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(pieces), max_size=40).map("".join))
def test_whatever_stands_there_is_read(html):
    read_page(html)
    seen = words(f"<p>alpha {html.replace('<!--', '').replace('<script>', '')}")
    assert "alpha" in seen[0]
