// The report as one HTML page. Everything is inline: a style sheet, SVG, no script.
#include <fmt/core.h>
#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

// Colours: Okabe and Ito's palette, which colour-blind readers can tell apart; lighter members of
// it in the dark.
constexpr const char* kStyle = R"css(
:root{--bg:#fdfdfb;--fg:#1d2327;--soft:#5b646b;--rule:#d9dcdc;--card:#f3f4f1;--link:#005a94;
--bn:#0072b2;--ln:#d55e00;--gn:#009e73;--none:#6b6f73;--other:#b0568d;--extra:#a87900;
--ok:#00704f;--mid:#8a6100;--no:#b03a00;--unk:#5b646b}
@media(prefers-color-scheme:dark){:root{--bg:#14181b;--fg:#e6e9ea;--soft:#a3adb3;--rule:#353d42;--card:#1d2327;--link:#7cc4f5;
--bn:#56b4e9;--ln:#f5a04a;--gn:#3fcf9f;--none:#b4babd;--other:#e39cc6;--extra:#f0e442;
--ok:#4fd3a5;--mid:#f0c24a;--no:#ff8f57;--unk:#a3adb3}}
@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--rule:#bbb;--card:#f5f5f5;--link:#000;--bn:#0072b2;--ln:#d55e00;--gn:#009e73;
--none:#6b6f73;--other:#b0568d;--extra:#a87900;--ok:#00704f;--mid:#8a6100;--no:#b03a00;--unk:#444}
section{break-before:page}section.keep{break-before:auto}aside,details{display:none}figure,tr,.qa{break-inside:avoid}nav{display:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
overflow-wrap:break-word;-webkit-text-size-adjust:100%}
main{max-width:800px;margin:0 auto;padding:24px 20px 80px}
h1{font-size:2rem;line-height:1.2;margin:.4em 0 .2em}h2{font-size:1.4rem;line-height:1.25;margin:0 0 .3em}
h3{font-size:1rem;margin:1.6em 0 .3em}p{margin:.5em 0}a{color:var(--link)}
section{border-top:1px solid var(--rule);margin-top:44px;padding-top:28px}
.lead{font-size:1.12rem;max-width:40em}.soft,.note{color:var(--soft)}.note{font-size:.88rem;margin:.2em 0 0}
nav{display:flex;flex-wrap:wrap;gap:6px 14px;margin:14px 0;font-size:.94rem}
.head{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:4px 16px}
.v{font-weight:700;font-size:.82rem;letter-spacing:.03em;white-space:nowrap}
aside{display:none}
.head .v{border:1.5px solid currentColor;border-radius:4px;padding:1px 8px}
.v.r{color:var(--ok)}.v.p{color:var(--mid)}.v.c{color:var(--no)}.v.n,.v.i{color:var(--unk)}
blockquote{margin:.6em 0;padding:.1em 0 .1em 14px;border-left:3px solid var(--rule);font-style:italic}
ol.how{margin:.6em 0;padding-left:1.3em}ol.how li{margin:.15em 0}
.trap{background:var(--card);border-radius:6px;padding:10px 14px;margin:1em 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;margin:.8em 0;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.84rem}th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--rule);vertical-align:top}
td.num{white-space:nowrap}td .says{display:block;color:var(--soft);font-size:.88rem}
.scroll{overflow-x:auto}.scroll td,.scroll th{white-space:nowrap}
details{margin:1em 0}summary{cursor:pointer;color:var(--soft)}
pre{overflow-x:auto;background:var(--card);border-radius:6px;padding:12px 14px;font-size:.78rem;line-height:1.45;tab-size:2}
.two{display:grid;grid-template-columns:1fr 1fr;gap:8px 32px}.two pre{font-size:.9rem;margin:.4em 0}.formula{font-size:1.05rem}
.says{margin-top:.15em}td .one{display:block;color:var(--soft);font-size:.9rem;margin-top:.2em}
svg.ci{display:block;width:120px;height:20px;margin-top:3px}.ci .zone{fill:var(--rule);opacity:.55}.ci .zero{stroke:var(--soft);stroke-width:1}
.ci .span{stroke:currentColor;stroke-width:2}.ci .at{fill:currentColor}.ci.r{color:var(--ok)}.ci.p{color:var(--mid)}.ci.c{color:var(--no)}.ci.n,.ci.i{color:var(--unk)}
.trace{stroke:currentColor;stroke-width:1;fill:none;opacity:.4}.cell.plain{fill:var(--card);stroke:var(--rule)}.cell.over{fill:currentColor}
ul.decide{padding-left:1.2em}ul.decide li{margin:.35em 0}
.charts{display:block}figure{margin:1.4em 0 0}figcaption{font-weight:600;margin-bottom:.35em}
figure svg{display:block;max-width:100%;height:auto;overflow:visible}svg.narrow{display:none}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.88rem;margin:0 0 .4em}.legend span{display:inline-flex;align-items:center;gap:6px}
.legend svg{display:inline-block;max-width:none;overflow:visible}.legend.labelled{display:none}
.maps{display:flex;flex-wrap:wrap;gap:0 30px}figure.map{flex:1 1 320px;max-width:350px}
.s-bn{color:var(--bn)}.s-ln{color:var(--ln)}.s-gn{color:var(--gn)}.s-none{color:var(--none)}.s-other{color:var(--other)}.s-extra{color:var(--extra)}
.legend span{color:var(--fg)}.legend .s-bn svg{color:var(--bn)}.legend .s-ln svg{color:var(--ln)}.legend .s-gn svg{color:var(--gn)}
.legend .s-none svg{color:var(--none)}.legend .s-other svg{color:var(--other)}.legend .s-extra svg{color:var(--extra)}
svg text{fill:var(--fg);font-family:inherit}svg text.tick,svg text.marktext{fill:var(--soft)}svg text.axis{fill:var(--fg)}
svg text.marktext,svg text.value{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}svg text.value{fill:currentColor;font-weight:600}
svg text.label{fill:currentColor;font-weight:600}
.grid{stroke:var(--rule);stroke-width:1}.frame{stroke:var(--soft);stroke-width:1;fill:none}.mark{stroke:var(--fg);stroke-width:1;stroke-dasharray:2 4}
.line{stroke:currentColor;stroke-width:2.2;fill:none;stroke-linejoin:round}.line.dashed{stroke-dasharray:6 4}.line.dotted{stroke-dasharray:1.5 4;stroke-linecap:round}
.dot{fill:currentColor;fill-opacity:.75;stroke:var(--bg);stroke-width:1}.ring{fill:var(--bg);stroke:currentColor;stroke-width:1.8}
.cross{stroke:currentColor;stroke-width:2;fill:none}.band{fill:currentColor;opacity:.15}.bar{stroke:currentColor;stroke-width:1.6;fill:none}
.mean{stroke:currentColor;stroke-width:3}.pair{stroke:var(--soft);stroke-width:1;fill:none;opacity:.45}.strip{fill:var(--card)}
.cell{fill:var(--bn)}.zero{fill:var(--soft)}
@media screen and (min-width:1240px){main{margin-left:max(290px,calc(50vw - 400px))}nav{display:none}
aside{display:block;position:fixed;top:0;left:max(24px,calc(50vw - 680px));width:236px;height:100vh;overflow-y:auto;padding:34px 0 20px;font-size:.86rem;line-height:1.3}
aside a{display:grid;grid-template-columns:2.3em 1fr auto;gap:4px;padding:3.5px 0;text-decoration:none;color:var(--fg)}aside a:hover{text-decoration:underline}
aside a b{color:var(--soft);font-weight:600}aside .v{font-size:.62rem;align-self:center}}
.qa{margin:1.2em 0}.qa b{display:block}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em}
@media screen and (max-width:640px){main{padding:16px 16px 60px}h1{font-size:1.6rem}svg.wide{display:none}svg.narrow{display:block;width:100%}
.legend.labelled{display:flex}table.stack thead{display:none}table.stack tr{display:block;border-bottom:1px solid var(--rule);padding:6px 0}
table.stack td{display:block;border:0;padding:1px 0;white-space:normal}
.two{grid-template-columns:1fr}table.stack td[data-k]:not([data-k=""])::before{content:attr(data-k) ": ";color:var(--soft)}
table.top tr,table.lines tr{display:grid;grid-template-columns:3.2em 1fr auto;gap:1px 0}
table.top td:nth-child(2),table.lines td:nth-child(2),table.lines td:nth-child(3){grid-column:1/4}
table.top td:nth-child(3),table.lines td:nth-child(6){grid-row:1;grid-column:3}
table.lines td:nth-child(4){grid-column:1/3}table.lines td:nth-child(5){grid-column:3}}
)css";

constexpr const char* kClasses[] = {"r", "p", "n", "c", "i"};  // of a verdict's colour
const char* css(Verdict v) { return kClasses[static_cast<size_t>(v)]; }

std::string chip(Verdict v) {
  return fmt::format("<span class=\"v {}\">{}</span>", css(v), name(v));
}
std::string chip(const Line& l) {
  return fmt::format("<span class=\"v {}\">{}</span>", css(l.verdict), verdict_text(l));
}

std::string typographic(std::string s) {  // a true minus sign in front of numbers
  for (size_t i = 0; (i = s.find('-', i)) != std::string::npos; i += 3)
    if ((i == 0 || s[i - 1] == ' ' || s[i - 1] == '[' || s[i - 1] == '(') && i + 1 < s.size() &&
        std::isdigit(static_cast<unsigned char>(s[i + 1])))
      s.replace(i, 1, "−");
  return s;
}
std::string prose(const std::string& s) { return typographic(escape(s)); }

// The interval beside the margin: shaded from -margin to +margin, in units of it, the outer parts
// compressed.
std::string interval(const Line& l) {
  if (l.kind == Kind::exact || !std::isfinite(l.effect.hi - l.effect.lo) || !(l.margin > 0))
    return "";
  const double reach =
      std::max({std::abs(l.effect.lo), std::abs(l.effect.hi), 2 * l.margin}) / l.margin;
  const auto x = [&](double v) {
    return 60 + std::copysign(56 * std::log1p(std::abs(v) / l.margin) / std::log1p(reach), v);
  };
  return fmt::format(
      R"(<svg class="ci {}" viewBox="0 0 120 20" role="img" aria-label="interval and margin"><rect class="zone" x="{:.1f}" y="2" width="{:.1f}" height="16"/>)"
      R"(<path class="zero" d="M60 1V19"/><path class="span" d="M{:.1f} 10H{:.1f}"/><circle class="at" cx="{:.1f}" cy="10" r="3.6"/>)"
      "<title>{}; shaded: the margin, {}; both sides on a log scale</title></svg>",
      css(l.verdict), x(-l.margin), x(l.margin) - x(-l.margin), x(l.effect.lo), x(l.effect.hi),
      x(l.effect.mean), typographic(effect_text(l)), margin_text(l));
}

std::string numbers(const ClaimResult& c) {
  std::string out =
      "<table class=\"stack lines\"><thead><tr><th></th><th>what is compared</th><th>effect [95 % "
      "interval]</th>"
      "<th>margin</th><th>seeds</th><th>verdict</th></tr></thead><tbody>";
  bool beside = false;
  for (const Line& l : c.lines) {
    beside |= l.beside;
    out += fmt::format(
        "<tr><td><b>{}</b></td><td>{}{}</td><td data-k=\"effect\">{}{}</td><td data-k=\"margin\" "
        "class=\"num\">{}</td><td "
        "data-k=\"seeds\">{}</td>"
        "<td>{}</td></tr>",
        l.id, prose(l.text),
        l.meaning.empty() ? "" : "<span class=\"says\">" + prose(l.meaning) + "</span>",
        typographic(effect_text(l)), interval(l), margin_text(l),
        l.kind == Kind::exact
            ? "–"
            : fmt::format("{}{}", l.seeds, l.dead ? fmt::format(", {} dead", l.dead) : ""),
        chip(l));
  }
  out += "</tbody></table>";
  return out + (beside ? "<p class=\"note\">In brackets: a check of the experiment or a rival "
                         "explanation, which does not count "
                         "in the claim's word.</p>"
                       : "");
}

std::string table(const Table& t) {
  std::string out =
      fmt::format("<div class=\"scroll\"><table><caption class=\"note\">{}</caption><thead><tr>",
                  escape(t.title));
  for (const auto& h : t.head) out += "<th>" + escape(h) + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& row : t.rows) {
    out += "<tr>";
    for (const auto& cell : row) out += "<td>" + escape(cell) + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string section(const ClaimResult& c) {
  std::string out = fmt::format(
      "<section id=\"{}\"><div class=\"head\"><h2>{} · "
      "{}</h2>{}</div>\n<blockquote>{}</blockquote>\n",
      c.id, c.id, escape(c.title), chip(c.verdict()), escape(c.says));
  out += fmt::format("<p>{}</p>\n<h3>The experiment</h3><ol class=\"how\">", prose(c.meaning));
  for (const auto& e : c.experiment) out += "<li>" + prose(e) + "</li>";
  out += "</ol>\n<div class=\"charts\">\n";
  for (const Chart& chart : c.charts) out += to_figure(chart);
  out += "</div>\n";
  if (!c.maps.empty()) {
    out += "<div class=\"maps\">";
    for (const Heatmap& m : c.maps) out += to_figure(m);
    out += "</div>\n";
  }
  out += "<h3>The numbers</h3>" + numbers(c) +
         fmt::format("\n<p class=\"trap\"><b>Trap.</b> {}</p>\n", prose(c.trap));
  if (!c.tables.empty()) {
    out += "<details><summary>Every arm and seed</summary>";
    for (const Table& t : c.tables) out += table(t);
    out += "</details>\n";
  }
  const std::string_view source = source_of(c.code);
  if (!source.empty())
    out += fmt::format(
        "<details><summary>The code of this claim</summary><pre "
        "id=\"code-{}\">{}</pre></details>\n",
        c.id, escape(std::string(source)));
  out += source.empty()
             ? fmt::format("<p class=\"soft\">Code: <code>{}</code>", c.code)
             : fmt::format("<p class=\"soft\">Code: <a href=\"#code-{}\"><code>{}</code></a>", c.id,
                           c.code);
  for (const Link& l : c.papers)
    out += fmt::format(" · <a href=\"{}\">{}</a>", l.url, escape(l.text));
  return out + "</p></section>\n";
}

// What a norm averages over, as a grid of samples and features: one column, or one row.
std::string grid(const std::string& title, bool column, const char* look) {
  std::string svg = fmt::format(
      R"(<svg class="heat {}" viewBox="0 0 250 178" width="250" height="178" role="img" aria-label="{}" font-size="12">)",
      look, escape(title));
  svg +=
      R"(<text class="axis" x="0" y="12">samples</text><text class="axis" x="141" y="172" text-anchor="middle">features</text>)";
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 8; ++j)
      svg += fmt::format(R"(<rect class="cell {}" x="{}" y="{}" width="24" height="24"/>)",
                         (column ? j == 3 : i == 2) ? "over" : "plain", 36 + 26 * j, 20 + 26 * i);
  return fmt::format("<figure class=\"chart map\"><figcaption>{}</figcaption>{}</svg></figure>",
                     escape(title), svg);
}

// The lesson as it is taught: what each norm averages over, its formula and its line of code.
std::string lesson(const Report& r) {
  std::string out =
      "<section id=\"lesson\" class=\"keep\"><h2>The lesson</h2><div class=\"two\"><div>";
  out += grid("BatchNorm: each feature over the batch", true, "s-bn");
  out +=
      "<p class=\"formula\"><code>x_norm = (x - mean_batch) / "
      "std_batch</code></p><pre>BatchNorm1d(128)</pre></div><div>";
  out += grid("LayerNorm: each sample over its features", false, "s-ln");
  out +=
      "<p class=\"formula\"><code>x_norm = (x - mean_features) / "
      "std_features</code></p><pre>LayerNorm(128)</pre></div></div>";
  out +=
      "<p>The same two lines in Loupe and in PyTorch. Both then multiply by a learned weight and "
      "add a learned bias, and have an "
      "epsilon of 1e-5 under the root; the deviation is the biased one. "
      "C7 and C10 hold the two formulas against the layers. In evaluation BatchNorm takes running "
      "averages instead of the "
      "batch's.</p>"
      "<table class=\"stack\"><thead><tr><th>the lesson's "
      "table</th><th>BatchNorm</th><th>LayerNorm</th></tr></thead><tbody>";
  for (const Advice& a : r.advice)
    out += fmt::format(
        "<tr><td><b>{}</b></td><td data-k=\"BatchNorm\">{}</td><td "
        "data-k=\"LayerNorm\">{}</td></tr>",
        escape(a.topic), a.batch.empty() ? "–" : escape(a.batch),
        a.layer.empty() ? "–" : escape(a.layer));
  return out + "</tbody></table></section>\n";
}

// "Of 12 claims 2 REPRODUCED, 9 PARTLY, 1 INCONCLUSIVE."
std::string tally(const Report& r) {
  std::string out;
  for (Verdict v : {Verdict::reproduced, Verdict::partly, Verdict::no_difference,
                    Verdict::contradicted, Verdict::inconclusive}) {
    const auto n =
        std::ranges::count_if(r.claims, [v](const ClaimResult& c) { return c.verdict() == v; });
    if (n) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, chip(v));
  }
  return fmt::format("Of {} claims: {}.", r.claims.size(), out);
}

}  // namespace

std::string to_html(const Report& r) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light "
      "dark\">"
      "<title>BatchNorm vs LayerNorm, measured</title>\n<style>{}</style></head><body>\n<aside>",
      kStyle);
  const auto entry = [&out](const std::string& id, const std::string& number,
                            const std::string& title, const std::string& dot) {
    out += fmt::format("<a href=\"#{}\"><b>{}</b><span>{}</span>{}</a>", id, number, title, dot);
  };
  entry("lesson", "", "The lesson", "");
  for (const auto& c : r.claims)
    entry(c.id, c.id, escape(c.title),
          fmt::format("<span class=\"v {}\">●</span>", css(c.verdict())));
  const std::pair<const char*, const char*> more[] = {
      {"which", "When to use which"}, {"interview", "Interview questions"}, {"method", "Method"}};
  for (const auto& [id, title] : more) entry(id, "", title, "");
  out += "</aside><main>\n";
  out +=
      "<h1>BatchNorm vs LayerNorm, measured</h1>\n"
      "<p class=\"lead\">Each claim of the usual lesson, tried with small networks on real data, "
      "several seeds an arm, and one "
      "word at the end. What does not reproduce is reported as not reproduced.</p>\n<nav><a "
      "href=\"#lesson\">The lesson</a>";
  for (const auto& c : r.claims) out += fmt::format("<a href=\"#{}\">{}</a>", c.id, c.id);
  for (const auto& [id, title] : more) out += fmt::format("<a href=\"#{}\">{}</a>", id, title);
  out += "</nav>\n<p>" + tally(r) + "</p>\n";
  out +=
      "<table class=\"stack top\"><thead><tr><th></th><th>the lesson says, and what came "
      "out</th><th>measured</th></tr></thead><tbody>";
  for (const auto& c : r.claims)
    out += fmt::format(
        "<tr><td><a href=\"#{}\"><b>{}</b></a></td><td>{}<span "
        "class=\"one\">{}</span></td><td>{}</td></tr>",
        c.id, c.id, escape(c.says), prose(c.meaning), chip(c.verdict()));
  out += fmt::format(
      "</tbody></table>\n<p>{}</p>\n<p class=\"soft\">{} profile, {} seeds, {} runs ({} died), "
      "{:.0f} s. {}. {}. "
      "<code>{}</code></p>\n",
      prose(chance_text(r)), r.profile, r.seeds, r.runs, r.dead, r.seconds, escape(r.machine),
      escape(r.data), escape(r.command));
  out += lesson(r);
  for (const auto& c : r.claims) out += section(c);
  out +=
      "<section id=\"which\"><h2>When to use which</h2><p>Derived from this run's verdicts:</p><ul "
      "class=\"decide\">";
  for (const std::string& d : r.decisions) out += "<li>" + prose(d) + "</li>";
  out +=
      "</ul><p>The lesson's own table, line by line, beside what this very run measured:</p><table "
      "class=\"stack\"><thead><tr><th></th><th>the lesson's table</th>"
      "<th>measured here</th><th>holds?</th></tr></thead><tbody>";
  for (const Advice& a : r.advice) {
    std::string says;
    if (!a.batch.empty()) says += "BatchNorm: " + a.batch + ". ";
    if (!a.layer.empty()) says += "LayerNorm: " + a.layer + ".";
    out += fmt::format(
        "<tr><td><b>{}</b></td><td>{}</td><td>{}</td><td>{}<span "
        "class=\"says\">{}</span></td></tr>",
        escape(a.topic), escape(says), prose(a.measured), chip(a.verdict), escape(a.from));
  }
  out +=
      "</tbody></table></section>\n<section id=\"interview\" class=\"keep\"><h2>Interview "
      "questions</h2><p>Answered from this "
      "run's own numbers.</p>";
  for (const Answer& a : r.interview)
    out += fmt::format("<div class=\"qa\"><b>{}</b>{}</div>", escape(a.question), prose(a.answer));
  out +=
      "</section>\n<section id=\"method\" class=\"keep\"><h2>How a verdict comes about</h2>"
      "<p>Two arms with the same seed share the data order and draw their weights from the same "
      "stream; the statistic is the "
      "difference seed by seed, with Student's 95 % interval. REPRODUCED: the whole interval lies "
      "beyond the margin on the side "
      "the "
      "lesson names. CONTRADICTED: beyond it on the other side. NO DIFFERENCE: inside the margin. "
      "INCONCLUSIVE: anything else; "
      "more "
      "seeds might decide. PARTLY: the parts of a claim disagree. Margins were fixed in the code "
      "before the runs.</p>"
      "<p>Learning rates are chosen for each arm from one grid by the median validation loss over "
      "tuning seeds that no verdict "
      "uses. "
      "No test image chooses anything. A run that diverged, or ended no better than knowing "
      "nothing, enters as knowing nothing "
      "(chance accuracy, the logarithm of the "
      "number of classes, the full budget) and is counted as dead; where more than half an arm is "
      "dead, the share that survived "
      "is compared instead, "
      "with Newcombe's interval. Exact facts have no interval. The intervals are not corrected for "
      "their number: the sentence "
      "under the first table says how many of "
      "them chance alone would put off the mark. All runs stand in <code>runs.jsonl</code> and "
      "<code>runs.csv</code>, one row a "
      "run with its whole configuration.</p>"
      "</section>\n</main></body></html>\n";
  return out;
}

}  // namespace loupe::lesson
