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
  return fmt::format("<span class=\"v {}\" title=\"{}\">{}</span>", css(v), name(v), plain(v));
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

// What would decide a line, and why it is not done.
std::string undecided_text(const Line& l) {
  if (!l.stands && l.verdict != Verdict::inconclusive)
    return fmt::format(
        "<span class=\"says\">The line alone says {}; corrected for the number of claims that does "
        "not "
        "stand. More seeds would decide it.</span>",
        plain(l.verdict));
  if (l.verdict != Verdict::inconclusive) return "";
  const auto seeds = seeds_to_decide(l);
  if (l.gridded)
    return "<span class=\"says\">A finer grid of rates and more seeds would decide it.</span>";
  if (!seeds) return "";
  return fmt::format(
      "<span class=\"says\">About {} seeds would decide it: more than {} is worth.</span>", *seeds,
      l.role == Role::explains ? "a line that explains" : "a few minutes");
}

std::string row_of(const Line& l) {
  return fmt::format(
      "<tr{}><td><b>{}</b></td><td>{}{}{}</td><td data-k=\"effect\">{}{}</td><td data-k=\"margin\" "
      "class=\"num\">{}</td><td data-k=\"seeds\">{}</td><td>{}</td></tr>",
      l.role == Role::primary ? " class=\"primary\"" : "", l.id.substr(0, l.id.find('@')),
      prose(l.text),
      l.meaning.empty() ? "" : "<span class=\"says\">" + prose(l.meaning) + "</span>",
      undecided_text(l), prose(effect_text(l)), interval(l), margin_text(l), seeds_text(l),
      chip(l));
}

std::string numbers(const ClaimResult& c) {
  std::string out =
      "<table class=\"stack lines\"><thead><tr><th></th><th>what is compared</th><th>effect [95 % "
      "interval]</th><th>margin</th><th>seeds</th><th>verdict</th></tr></thead><tbody>";
  for (const Line& l : c.lines) out += row_of(l);
  for (const Line& l : c.own) out += row_of(l);
  out += "</tbody></table>";
  return out +
         "<p class=\"note\">Bold: the line behind the claim's word. In brackets: lines that "
         "explain "
         "and do not count in it.</p>";
}

// The chart that shows the finding; where a claim has maps instead, the two that differ most.
std::string finding(const ClaimResult& c) {
  if (!c.charts.empty()) return view::to_figure(c.charts[0]);
  std::string out = "<h3>" + escape(c.finding) + "</h3><div class=\"maps\">";
  for (const size_t i : {size_t{0}, c.maps.size() / 2})
    if (i < c.maps.size()) out += view::to_figure(c.maps[i]);
  return out + "</div>";
}

std::string more_charts(const ClaimResult& c) {
  std::string out;
  for (size_t i = 1; i < c.charts.size(); ++i) out += view::to_figure(c.charts[i]);
  if (!c.maps.empty()) {
    out += "<div class=\"maps\">";
    for (size_t i = 0; i < c.maps.size(); ++i)
      if (!c.charts.empty() || (i != 0 && i != c.maps.size() / 2))
        out += view::to_figure(c.maps[i]);
    out += "</div>";
  }
  return out;
}

// What one would have said, before the answer. Without a script: each opens with its own reply.
std::string guesses(const ClaimResult& c) {
  std::string out = "<div class=\"guess\"><span class=\"soft\">Your guess:</span>";
  const auto right = right_guess(c);
  for (size_t i = 0; i < c.guesses.size(); ++i) {
    const char* reply = "Not in this run.";
    if (!right) reply = "This run does not decide it.";
    else if (*right == i) reply = "Right.";
    out += fmt::format("<details name=\"guess-{}\"><summary>{}</summary><p>{}</p></details>", c.id,
                       escape(c.guesses[i]), reply);
  }
  return out + "</div>";
}

std::string number(const ClaimResult& c) {
  const auto line = std::ranges::find(c.lines, c.number.line, &Line::id);
  const bool uncertain = line != c.lines.end() && line->kind == Kind::statistical;
  const std::string effect =
      uncertain ? "<span class=\"says\">" + prose(effect_text(*line)) + "</span>" : "";
  return fmt::format("<p class=\"number\"><b>{}</b> {}{}{}</p>", prose(c.number.big),
                     prose(c.number.text), effect, undecided_text(c.primary()));
}

std::string sources(const ClaimResult& c) {
  std::string out =
      fmt::format("<p class=\"soft\">Code: <a href=\"#code-{}\"><code>{}</code></a>", c.id, c.code);
  for (const Link& l : c.papers)
    out += fmt::format(" · <a href=\"{}\">{}</a>", l.url, escape(l.text));
  return out + "</p>";
}

// Under which a claim holds in part.
std::string condition(const ClaimResult& c) {
  if (c.verdict() != Verdict::partly) return "";
  return "<span class=\"condition\">" + prose(c.condition) + "</span>";
}

// To the page of web/, where it lies beside this one.
std::string train_it_live(const ClaimResult& c) {
  if (c.live.empty()) return "";
  return fmt::format(
      "<p><a href=\"live.html#{}\">Train it live</a> in the browser, with <code>live.html</code> "
      "beside this page (docs/live.md).</p>",
      escape(c.live));
}

// Method, numbers, further charts, seeds, code, trap and papers: all that one may ask next.
std::string folded_part(const ClaimResult& c) {
  std::string out = "<p>" + prose(c.meaning) + "</p><h3>The experiment</h3><ol class=\"how\">";
  for (const auto& e : c.experiment) out += "<li>" + prose(e) + "</li>";
  out += "</ol>" + train_it_live(c) + "<h3>The numbers</h3>" + numbers(c) + more_charts(c);
  out += fmt::format("\n<p class=\"trap\"><b>Trap.</b> {}</p>\n", prose(c.trap));
  std::string tables;
  for (const Table& t : c.tables) tables += view::to_html(t);
  if (!tables.empty()) out += view::folded("Every arm and seed", tables);
  const std::string code = escape(std::string(embedded(c.code)));
  out += view::folded("The code of this claim",
                      fmt::format("<pre id=\"code-{}\">{}</pre>", c.id, code));
  return out + sources(c);
}

std::string section(const ClaimResult& c) {
  std::string out = fmt::format(
      "<section id=\"{0}\" class=\"claim keep\"><div class=\"head\"><h2><a href=\"#{0}\">{0}</a> "
      "{1}</h2>{2}{4}</div>\n<div class=\"side\"><div "
      "class=\"told\"><blockquote>{3}</blockquote>\n",
      c.id, escape(c.title), chip(c.verdict()), escape(c.says), condition(c));
  out += guesses(c) + "<p class=\"answer\">" + prose(c.answer) + "</p>" + number(c);
  if (!c.own_text.empty())
    out += fmt::format("<p class=\"s-ink\"><b>{}</b>: {}</p>", escape(c.own_bar.name),
                       prose(c.own_text));
  out += "</div>\n";
  if (!c.charts.empty() || !c.maps.empty()) out += "<div class=\"shown\">" + finding(c) + "</div>";
  out += "</div>\n";
  return out + view::folded("Method, every number and seed, code, trap, papers", folded_part(c)) +
         "</section>\n";
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
      "<p>The same two lines in Loupe and in PyTorch; C7 and C10 hold the formulas against the "
      "layers. Units on this page: <b>points</b> are percentage points of test accuracy; a "
      "<b>nat</b> is the unit of cross entropy (2.3 nats: knowing nothing about ten classes); a "
      "<b>doubling</b> is a factor of 2, a <b>decade</b> one of 10. A <b>statistic</b> is the mean "
      "and deviation that a norm computes; a <b>group</b> is the images it computes them from.</p>";
  std::string table =
      "<table class=\"stack\"><thead><tr><th>the lesson's "
      "table</th><th>BatchNorm</th><th>LayerNorm</th></tr></thead><tbody>";
  for (const Advice& a : r.advice)
    table += fmt::format(
        "<tr><td><b>{}</b></td><td data-k=\"BatchNorm\">{}</td><td "
        "data-k=\"LayerNorm\">{}</td></tr>",
        escape(a.topic), a.batch.empty() ? "–" : escape(a.batch),
        a.layer.empty() ? "–" : escape(a.layer));
  return out + view::folded("The lesson's table", table + "</tbody></table>") + "</section>\n";
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

// The first screen.
std::string overview(const Report& r) {
  return "<p>" + tally(r) + "</p>\n" + picture_html(r) +
         fmt::format(
             "<p class=\"soft\">{} profile, {}, {} runs ({} died), {:.0f} s of processor time. "
             "<code>{}</code></p>\n",
             r.profile, seeds_text(r), r.runs, r.dead, r.processor, escape(r.command));
}

// One's own norm beside the two: every line in which it stands.
std::string own(const Report& r) {
  std::string out = fmt::format(
      "<section id=\"own\" class=\"keep\"><h2>{0}</h2><p>Every claim, measured once more with {0} "
      "in BatchNorm's place and once more in LayerNorm's, each at a learning rate of its own. The "
      "charts of the claims show it too. The intervals are not corrected for the number of these "
      "lines.</p>",
      escape(r.own));
  std::string table =
      "<table class=\"stack lines\"><thead><tr><th></th><th>what is compared</th><th>effect [95 % "
      "interval]</th><th>margin</th><th>seeds</th><th>verdict</th></tr></thead><tbody>";
  for (const ClaimResult& c : r.claims)
    for (const Line& l : c.own) table += row_of(l);
  return out + view::folded("Every line of it", table + "</tbody></table>") + "</section>\n";
}

std::string which(const Report& r) {
  std::string out = "<section id=\"which\" class=\"keep\"><h2>Which norm?</h2><ol class=\"tree\">";
  for (const Decision& d : r.decisions)
    out += fmt::format(
        "<li><b>{}</b><div><span class=\"say\">Yes:</span> {}</div><div><span "
        "class=\"say\">No:</span> {}</div></li>",
        escape(d.question), prose(d.yes), prose(d.no));
  std::string table =
      "<p>The lesson's own table, line by line, beside what this very run measured:</p><table "
      "class=\"stack\"><thead><tr><th></th><th>the lesson's table</th>"
      "<th>measured here</th><th>holds?</th></tr></thead><tbody>";
  for (const Advice& a : r.advice) {
    std::string says;
    if (!a.batch.empty()) says += "BatchNorm: " + a.batch + ". ";
    if (!a.layer.empty()) says += "LayerNorm: " + a.layer + ".";
    table += fmt::format(
        "<tr><td><b>{}</b></td><td>{}</td><td>{}</td><td>{}<span "
        "class=\"says\">{}</span></td></tr>",
        escape(a.topic), escape(says), prose(a.measured), chip(a.verdict), escape(a.from));
  }
  return out + "</ol>" + view::folded("The lesson's own table, tried", table + "</tbody></table>") +
         "</section>\n";
}

// Titled paragraphs, side by side where there is room.
std::string cards(const char* id, const char* title, const std::string& lead,
                  const std::vector<Answer>& all) {
  std::string out =
      fmt::format("<section id=\"{}\" class=\"keep\"><h2>{}</h2>{}<div class=\"cards\">", id, title,
                  lead.empty() ? "" : "<p class=\"soft\">" + lead + "</p>");
  for (const Answer& a : all)
    out += fmt::format("<div class=\"qa\"><b>{}</b>{}</div>", escape(a.question), prose(a.answer));
  return out + "</div></section>\n";
}

// What follows from all claims together.
std::string which_to_tools(const Report& r) {
  std::string out = which(r);
  out += cards("surprises", "Surprises", "What this run found and the lesson does not say.",
               r.surprises);
  out += cards("interview", "Interview questions",
               "A sentence, a number of this run, a caveat: as one can say it.", r.interview);
  out += cards("tools", "The tools",
               "Where their conventions differ, with a number that "
               "this run computed.",
               r.tools);
  return out;
}

std::string method(const Report& r) {
  std::string out =
      "<section id=\"method\" class=\"keep\"><h2>Method</h2><p>" + prose(chance_text(r)) +
      fmt::format("</p><p class=\"soft\">{}. {}.</p>", escape(r.machine), escape(r.data));
  for (const Section& s : embedded_sections("lesson/method.txt")) {
    std::string text;
    for (const std::string& p : s.paragraphs) text += "<p>" + prose(p) + "</p>";
    out += view::folded(s.head, text);
  }
  return out + "</section>\n";
}

std::vector<view::Entry> contents(const Report& r) {
  std::vector<view::Entry> all;
  if (r.part == 1) all.push_back({.id = "lesson", .title = "The lesson"});
  if (!r.own.empty()) all.push_back({.id = "own", .title = r.own});
  for (const auto& c : r.claims)
    all.push_back(
        {c.id, c.id, c.title, fmt::format("<span class=\"v {}\">●</span>", css(c.verdict()))});
  if (r.part == 1) {
    all.push_back({.id = "which", .title = "Which norm?"});
    all.push_back({.id = "surprises", .title = "Surprises"});
    all.push_back({.id = "interview", .title = "Interview questions"});
    all.push_back({.id = "tools", .title = "The tools"});
  }
  all.push_back({.id = "method", .title = "Method"});
  return all;
}

}  // namespace

std::string to_html(const Report& r) {
  view::Page page{.title = "BatchNorm vs LayerNorm, measured"};
  page.lead =
      "Twelve claims of the usual lesson, tried with small networks on real data and many seeds.";
  page.head =
      "<meta property=\"og:title\" content=\"BatchNorm vs LayerNorm, measured\"><meta "
      "property=\"og:description\" content=\"Twelve claims, tried with small networks: what holds, "
      "what does not, and by how much.\"><meta property=\"og:image\" content=\"lesson.png\">";
  page.style = embedded("lesson/report.css");
  page.contents = contents(r);
  page.before = overview(r);
  if (r.part == 2) {
    page.title = "Rivals and successors of BatchNorm and LayerNorm, measured";
    page.lead = "What followed the two norms, or explains them: each with its source and a try.";
  } else {
    page.body = lesson(r);
  }
  if (!r.images.empty() && r.images != "Fashion-MNIST")
    page.lead += " The images of this run: " + r.images + ".";
  if (!r.own.empty()) page.body += own(r);
  for (const auto& c : r.claims) page.body += section(c);
  if (r.part == 1) page.body += which_to_tools(r);
  page.body += method(r);
  return view::to_html(page);
}

}  // namespace loupe::lesson
