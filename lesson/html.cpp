// The report as one HTML page. Everything is inline: a style sheet, SVG, no script.
#include <fmt/core.h>
#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

// Colours: Okabe and Ito's palette, which colour-blind readers can tell apart; lighter members of it in the dark.
constexpr const char* kStyle = R"css(
:root{--bg:#fdfdfb;--fg:#1d2327;--soft:#5b646b;--rule:#d9dcdc;--card:#f3f4f1;--link:#005a94;
--bn:#0072b2;--ln:#d55e00;--gn:#009e73;--none:#6b6f73;--other:#b0568d;--extra:#a87900;
--ok:#00704f;--mid:#8a6100;--no:#b03a00;--unk:#5b646b}
@media(prefers-color-scheme:dark){:root{--bg:#14181b;--fg:#e6e9ea;--soft:#a3adb3;--rule:#353d42;--card:#1d2327;--link:#7cc4f5;
--bn:#56b4e9;--ln:#f5a04a;--gn:#3fcf9f;--none:#b4babd;--other:#e39cc6;--extra:#f0e442;
--ok:#4fd3a5;--mid:#f0c24a;--no:#ff8f57;--unk:#a3adb3}}
@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--rule:#bbb;--card:#f5f5f5;--link:#000;--bn:#0072b2;--ln:#d55e00;--gn:#009e73;
--none:#6b6f73;--other:#b0568d;--extra:#a87900;--ok:#00704f;--mid:#8a6100;--no:#b03a00;--unk:#444}
section{break-before:page}section.keep{break-before:auto}figure,tr,.qa{break-inside:avoid}nav{display:none}}
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
.line{stroke:currentColor;stroke-width:2.2;fill:none;stroke-linejoin:round}.line.dashed{stroke-dasharray:6 4}
.dot{fill:currentColor;fill-opacity:.75;stroke:var(--bg);stroke-width:1}.ring{fill:var(--bg);stroke:currentColor;stroke-width:1.8}
.cross{stroke:currentColor;stroke-width:2;fill:none}.band{fill:currentColor;opacity:.15}.bar{stroke:currentColor;stroke-width:1.6;fill:none}
.mean{stroke:currentColor;stroke-width:3}.pair{stroke:var(--soft);stroke-width:1;fill:none;opacity:.45}.strip{fill:var(--card)}
.cell{fill:var(--bn)}.zero{fill:var(--soft)}
.qa{margin:1.2em 0}.qa b{display:block}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em}
@media screen and (max-width:640px){main{padding:16px 16px 60px}h1{font-size:1.6rem}svg.wide{display:none}svg.narrow{display:block;width:100%}
.legend.labelled{display:flex}table.stack thead{display:none}table.stack tr{display:block;border-bottom:1px solid var(--rule);padding:6px 0}
table.stack td{display:block;border:0;padding:1px 0;white-space:normal}
table.stack td[data-k]:not([data-k=""])::before{content:attr(data-k) ": ";color:var(--soft)}}
)css";

std::string chip(Verdict v) {
  constexpr const char* classes[] = {"r", "p", "n", "c", "i"};
  return fmt::format("<span class=\"v {}\">{}</span>", classes[static_cast<size_t>(v)], name(v));
}

std::string typographic(std::string s) {  // a true minus sign in front of numbers
  for (size_t i = 0; (i = s.find('-', i)) != std::string::npos; i += 3)
    if ((i == 0 || s[i - 1] == ' ' || s[i - 1] == '[') && i + 1 < s.size() && std::isdigit(static_cast<unsigned char>(s[i + 1])))
      s.replace(i, 1, "−");
  return s;
}

std::string numbers(const ClaimResult& c) {
  std::string out = "<table class=\"stack\"><thead><tr><th></th><th>what is compared</th><th>effect [95 % interval]</th>"
                    "<th>margin</th><th>seeds</th><th>verdict</th></tr></thead><tbody>";
  for (const Line& l : c.lines) {
    const bool is_exact = l.kind == Kind::exact;
    out += fmt::format(
        "<tr><td><b>{}</b></td><td>{}{}</td><td data-k=\"effect\">{}</td><td data-k=\"margin\">{}</td><td data-k=\"seeds\">{}</td>"
        "<td>{}</td></tr>",
        l.id, escape(l.text), l.meaning.empty() ? "" : "<span class=\"says\">" + escape(l.meaning) + "</span>",
        typographic(effect_text(l)), is_exact ? "exact fact" : "±" + short_number(l.margin),
        is_exact ? "-" : fmt::format("{}{}", l.seeds, l.dead ? fmt::format(", {} dead", l.dead) : ""), chip(l.verdict));
  }
  return out + "</tbody></table>";
}

std::string table(const Table& t) {
  std::string out = fmt::format("<div class=\"scroll\"><table><caption class=\"note\">{}</caption><thead><tr>", escape(t.title));
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
  std::string out = fmt::format("<section id=\"{}\"><div class=\"head\"><h2>{} · {}</h2>{}</div>\n<blockquote>{}</blockquote>\n",
                                c.id, c.id, escape(c.title), chip(c.verdict()), escape(c.says));
  out += fmt::format("<p>{}</p>\n<div class=\"charts\">\n", escape(c.meaning));
  for (const Chart& chart : c.charts) out += to_figure(chart);
  out += "</div>\n";
  if (!c.maps.empty()) {
    out += "<div class=\"maps\">";
    for (const Heatmap& m : c.maps) out += to_figure(m);
    out += "</div>\n";
  }
  out += "<h3>The numbers</h3>" + numbers(c) + "<h3>The experiment</h3><ol class=\"how\">";
  for (const auto& e : c.experiment) out += "<li>" + escape(e) + "</li>";
  out += fmt::format("</ol>\n<p class=\"trap\"><b>Trap.</b> {}</p>\n", escape(c.trap));
  if (!c.tables.empty()) {
    out += "<details><summary>Every arm and seed</summary>";
    for (const Table& t : c.tables) out += table(t);
    out += "</details>\n";
  }
  out += "<p class=\"soft\">Code: <code>" + c.code + "</code>";
  for (const Link& l : c.papers) out += fmt::format(" · <a href=\"{}\">{}</a>", l.url, escape(l.text));
  return out + "</p></section>\n";
}

}  // namespace

std::string to_html(const Report& r) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">"
      "<title>BatchNorm vs LayerNorm, measured</title>\n<style>{}</style></head><body><main>\n",
      kStyle);
  out += "<h1>BatchNorm vs LayerNorm, measured</h1>\n"
         "<p class=\"lead\">Each claim of the usual lesson, tried with small networks on real data, several seeds an arm, and one "
         "word at the end. What does not reproduce is reported as not reproduced.</p>\n<nav>";
  for (const auto& c : r.claims) out += fmt::format("<a href=\"#{}\">{}</a>", c.id, c.id);
  out += "<a href=\"#which\">When to use which</a><a href=\"#interview\">Interview</a><a href=\"#method\">Method</a></nav>\n";
  out += "<table class=\"stack\"><thead><tr><th></th><th>the lesson says</th><th>measured</th></tr></thead><tbody>";
  for (const auto& c : r.claims)
    out += fmt::format("<tr><td><a href=\"#{}\"><b>{}</b></a></td><td>{}</td><td>{}</td></tr>", c.id, c.id, escape(c.says),
                       chip(c.verdict()));
  out += fmt::format("</tbody></table>\n<p>{}</p>\n<p class=\"soft\">{} profile, {} seeds, {} runs ({} died), {:.0f} s. {}. {}. "
                     "<code>{}</code></p>\n",
                     chance_text(r), r.profile, r.seeds, r.runs, r.dead, r.seconds, escape(r.machine), escape(r.data),
                     escape(r.command));
  for (const auto& c : r.claims) out += section(c);
  out += "<section id=\"which\"><h2>When to use which</h2><p>The lesson's own table, line by line, beside what this very run "
         "measured.</p><table class=\"stack\"><thead><tr><th></th><th>the lesson</th><th>measured here</th><th>from</th></tr></thead><tbody>";
  for (const Advice& a : r.advice)
    out += fmt::format("<tr><td><b>{}</b></td><td data-k=\"lesson\">{}</td><td data-k=\"measured\">{}</td><td data-k=\"from\">{}</td></tr>",
                       escape(a.topic), escape(a.lesson), typographic(escape(a.measured)), escape(a.verdicts));
  out += "</tbody></table></section>\n<section id=\"interview\" class=\"keep\"><h2>Interview questions</h2>";
  for (const Answer& a : r.interview)
    out += fmt::format("<div class=\"qa\"><b>{}</b>{}</div>", escape(a.question), typographic(escape(a.answer)));
  out += "</section>\n<section id=\"method\" class=\"keep\"><h2>How a verdict comes about</h2>"
         "<p>Two arms with the same seed share the data order and draw their weights from the same stream; the statistic is the "
         "difference seed by seed, with Student's 95 % interval. REPRODUCED: the whole interval lies beyond the margin on the side the "
         "lesson names. CONTRADICTED: beyond it on the other side. NO DIFFERENCE: inside the margin. INCONCLUSIVE: anything else; more "
         "seeds might decide. PARTLY: the parts of a claim disagree. Margins were fixed in the code before the runs.</p>"
         "<p>Learning rates are chosen for each arm from one grid by the median validation loss over tuning seeds that no verdict uses. "
         "No test image chooses anything. A run that diverged enters as knowing nothing (chance accuracy, the logarithm of the number of classes, "
         "the full budget) and is counted as dead; where more than half an arm is dead, the share that survived is compared instead, "
         "with Newcombe's interval. Exact facts have no interval. All runs stand in <code>runs.jsonl</code> and <code>runs.csv</code>.</p>"
         "</section>\n</main></body></html>\n";
  return out;
}

}  // namespace loupe::lesson
