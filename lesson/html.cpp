// The report as one HTML page: the frame of view/page.h around the lesson's sections.
#include <fmt/core.h>
#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

using view::css;
using view::escape;
using view::prose;

constexpr const char* kClasses[] = {"r", "p", "n", "c", "i", "p", "c"};  // of a verdict's colour
const char* css(Verdict v) { return kClasses[static_cast<size_t>(v)]; }

std::string chip(Verdict v) {
  return fmt::format("<span class=\"v {}\">{}</span>", css(v), name(v));
}
std::string chip(const Line& l) {
  return fmt::format("<span class=\"v {}\">{}</span>", css(l.verdict), verdict_text(l));
}

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
      x(l.effect.mean), prose(effect_text(l)), margin_text(l));
}

std::string seeds_text(const Line& l) {
  if (l.kind == Kind::exact) return "–";
  return fmt::format("{}{}", l.seeds,
                     l.dead() ? fmt::format(", {} + {} died", l.dead_a, l.dead_b) : "");
}

std::string row_of(const Line& l) {
  return fmt::format(
      "<tr{}><td><b>{}</b></td><td>{}{}</td><td data-k=\"effect\">{}{}</td><td data-k=\"margin\" "
      "class=\"num\">{}</td><td data-k=\"seeds\">{}</td><td>{}</td></tr>",
      l.role == Role::primary ? " class=\"primary\"" : "", l.id, prose(l.text),
      l.meaning.empty() ? "" : "<span class=\"says\">" + prose(l.meaning) + "</span>",
      prose(effect_text(l)), interval(l), margin_text(l), seeds_text(l), chip(l));
}

std::string numbers(const ClaimResult& c) {
  std::string out =
      "<table class=\"stack lines\"><thead><tr><th></th><th>what is compared</th><th>effect [95 % "
      "interval]</th><th>margin</th><th>seeds</th><th>verdict</th></tr></thead><tbody>";
  for (const Line& l : c.lines) out += row_of(l);
  out += "</tbody></table>";
  return out +
         "<p class=\"note\">Bold: the line behind the claim's word. In brackets: lines that "
         "explain "
         "and do not count in it.</p>";
}

std::string pictures(const ClaimResult& c) {
  std::string out = "<div class=\"charts\">\n";
  for (const Chart& chart : c.charts) out += view::to_figure(chart);
  out += "</div>\n";
  if (c.maps.empty()) return out;
  out += "<div class=\"maps\">";
  for (const Heatmap& m : c.maps) out += view::to_figure(m);
  return out + "</div>\n";
}

std::string sources(const ClaimResult& c) {
  std::string out =
      fmt::format("<p class=\"soft\">Code: <a href=\"#code-{}\"><code>{}</code></a>", c.id, c.code);
  for (const Link& l : c.papers)
    out += fmt::format(" · <a href=\"{}\">{}</a>", l.url, escape(l.text));
  return out + "</p>";
}

// Under which a PARTLY holds.
std::string condition(const ClaimResult& c) {
  if (c.verdict() != Verdict::partly) return "";
  return "<span class=\"one condition\">" + prose(c.condition) + "</span>";
}

std::string section(const ClaimResult& c) {
  std::string out = fmt::format(
      "<section id=\"{}\"><div class=\"head\"><h2>{} · "
      "{}</h2>{}</div>\n<blockquote>{}</blockquote>\n",
      c.id, c.id, escape(c.title), chip(c.verdict()), escape(c.says));
  out += condition(c);
  out += fmt::format("<p>{}</p>\n<h3>The experiment</h3><ol class=\"how\">", prose(c.meaning));
  for (const auto& e : c.experiment) out += "<li>" + prose(e) + "</li>";
  out += "</ol>\n" + pictures(c);
  out += "<h3>The numbers</h3>" + numbers(c);
  out += fmt::format("\n<p class=\"trap\"><b>Trap.</b> {}</p>\n", prose(c.trap));
  std::string tables;
  for (const Table& t : c.tables) tables += view::to_html(t);
  if (!tables.empty()) out += view::folded("Every arm and seed", tables);
  const std::string code = escape(std::string(embedded(c.code)));
  out += view::folded("The code of this claim",
                      fmt::format("<pre id=\"code-{}\">{}</pre>", c.id, code));
  return out + sources(c) + "</section>\n";
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
  out += grid("BatchNorm: each feature over the batch", true, css(Look::blue));
  out +=
      "<p class=\"formula\"><code>x_norm = (x - mean_batch) / "
      "std_batch</code></p><pre>BatchNorm1d(128)</pre></div><div>";
  out += grid("LayerNorm: each sample over its features", false, css(Look::orange));
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
  for (Verdict v :
       {Verdict::reproduced, Verdict::partly, Verdict::no_difference, Verdict::contradicted,
        Verdict::small, Verdict::small_opposite, Verdict::inconclusive}) {
    const auto n =
        std::ranges::count_if(r.claims, [v](const ClaimResult& c) { return c.verdict() == v; });
    if (n) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, chip(v));
  }
  return fmt::format("Of {} claims: {}.", r.claims.size(), out);
}

// Every claim: what the lesson says, what came out, the word.
std::string overview(const Report& r) {
  std::string out = "<p>" + tally(r) + "</p>\n";
  out +=
      "<table class=\"stack top\"><thead><tr><th></th><th>the lesson says, and what came "
      "out</th><th>measured</th></tr></thead><tbody>";
  for (const auto& c : r.claims)
    out += fmt::format(
        "<tr><td><a href=\"#{}\"><b>{}</b></a></td><td>{}<span "
        "class=\"one\">{}</span></td><td>{}{}</td></tr>",
        c.id, c.id, escape(c.says), prose(c.meaning), chip(c.verdict()), condition(c));
  out += "</tbody></table>\n<p>" + prose(chance_text(r)) + "</p>\n";
  return out + fmt::format(
                   "<p class=\"soft\">{} profile, {}, {} runs ({} died), {:.0f} s. {}. {}. "
                   "<code>{}</code></p>\n",
                   r.profile, seeds_text(r), r.runs, r.dead, r.seconds, escape(r.machine),
                   escape(r.data), escape(r.command));
}

std::string which(const Report& r) {
  std::string out =
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
  return out + "</tbody></table></section>\n";
}

std::string questions(const Report& r) {
  std::string out =
      "<section id=\"interview\" class=\"keep\"><h2>Interview questions</h2><p>Answered from this "
      "run's own numbers.</p>";
  for (const Answer& a : r.interview)
    out += fmt::format("<div class=\"qa\"><b>{}</b>{}</div>", escape(a.question), prose(a.answer));
  return out + "</section>\n";
}

std::string method() {
  std::string out = "<section id=\"method\" class=\"keep\">";
  for (const Section& s : embedded_sections("lesson/method.txt")) {
    out += "<h2>" + escape(s.head) + "</h2>";
    for (const std::string& p : s.paragraphs) out += "<p>" + prose(p) + "</p>";
  }
  return out + "</section>\n";
}

std::vector<view::Entry> contents(const Report& r) {
  std::vector<view::Entry> all{{.id = "lesson", .title = "The lesson"}};
  for (const auto& c : r.claims)
    all.push_back(
        {c.id, c.id, c.title, fmt::format("<span class=\"v {}\">●</span>", css(c.verdict()))});
  all.push_back({.id = "which", .title = "When to use which"});
  all.push_back({.id = "interview", .title = "Interview questions"});
  all.push_back({.id = "method", .title = "Method"});
  return all;
}

}  // namespace

std::string to_html(const Report& r) {
  view::Page page{.title = "BatchNorm vs LayerNorm, measured"};
  page.lead =
      "Each claim of the usual lesson, tried with small networks on real data, several seeds an "
      "arm, and one word at the end. What does not reproduce is reported as not reproduced.";
  page.style = embedded("lesson/report.css");
  page.contents = contents(r);
  page.before = overview(r);
  page.body = lesson(r);
  for (const auto& c : r.claims) page.body += section(c);
  page.body += which(r) + questions(r) + method();
  return view::to_html(page);
}

}  // namespace loupe::lesson
