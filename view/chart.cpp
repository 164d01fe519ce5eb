#include <fmt/core.h>
#include <loupe/view/chart_parts.h>

#include <algorithm>
#include <cmath>

namespace loupe::view {
namespace {

const char* stroke(const Series& s) {
  if (s.dashed) return " dashed";
  return s.dotted ? " dotted" : "";
}

// A marker of about 8 pixels.
std::string marker(Look look, double x, double y, double r, const std::string& hover) {
  const std::string title = hover.empty() ? "" : fmt::format("<title>{}</title>", escape(hover));
  switch (look) {
    case Look::blue:
      return fmt::format(R"(<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>)", x,
                         y, r, title);
    case Look::orange:
      return fmt::format(
          R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z">{}</path>)",
          x, y - 1.3 * r, 1.3 * r, 1.3 * r, -1.3 * r, 1.3 * r, -1.3 * r, -1.3 * r, title);
    case Look::green:
      return fmt::format(R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z">{}</path>)",
                         x, y - 1.2 * r, 1.2 * r, 2.1 * r, -2.4 * r, title);
    case Look::gray:
      return fmt::format(
          R"(<rect class="dot" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>)",
          x - .9 * r, y - .9 * r, 1.8 * r, 1.8 * r, title);
    case Look::purple:
      return fmt::format(R"(<circle class="ring" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>)",
                         x, y, r, title);
    case Look::ink:
      return fmt::format(
          R"(<path class="plus" d="M{:.1f} {:.1f}h{:.1f}M{:.1f} {:.1f}v{:.1f}">{}</path>)",
          x - 1.3 * r, y, 2.6 * r, x, y - 1.3 * r, 2.6 * r, title);
    case Look::yellow: break;
  }
  return fmt::format(R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z">{}</path>)", x,
                     y + 1.2 * r, 1.2 * r, -2.1 * r, -2.4 * r, title);
}

std::string cross(double x, double y, const std::string& hover) {
  return fmt::format(
      R"(<path class="cross" d="M{:.1f} {:.1f}l8 8m0 -8l-8 8"><title>{}</title></path>)", x - 4,
      y - 4, escape(hover));
}

std::string hover_of(const Series& s, const Point& p, const Axis& x) {
  if (!p.hover.empty()) return s.name + ": " + p.hover;
  const auto i = static_cast<size_t>(std::lround(std::max(0.0, p.x)));
  const std::string where =
      x.categories.empty() ? short_number(p.x) : x.categories[std::min(i, x.categories.size() - 1)];
  return fmt::format("{}, {}: {}", s.name, where, p.dead ? "died" : short_number(p.y));
}

// One chart on its way to SVG: the layout first, then layer upon layer.
class Drawing {
 public:
  Drawing(const Chart& chart, int width);
  std::string svg();

 private:
  // A direct label at the right end of a line.
  struct Label {
    double at;
    const Series* series;
  };

  void collect();
  void see(const std::vector<Point>& points);
  double space_below(double right) const;
  double y_of_dead() const { return top_ - strip_ / 2 - 1; }
  void text(double x, double y, const char* anchor, const std::string& s, const char* cls = "tick");
  void y_axis();
  void strip_of_the_dead();
  void x_axis();
  void category_labels();
  void x_ticks();
  void room_above_marks();
  std::vector<Point> drawn() const;
  void marks();
  void pairs();
  void series(const Series& s);
  void band(const Series& s);
  void bars(const Series& s);
  void mean_of_column(const Series& s);
  void labels();
  std::string path(const std::vector<Point>& points) const;
  bool is_column(const Series& s) const { return categories_ && s.line.size() == 1; }
  double slot() const { return (right_ - left_) / static_cast<double>(categories_); }
  double plot_height() const { return wide_ ? 250 : 200; }

  const Chart& c_;
  const int width_;
  const bool wide_;
  const double font_;
  const size_t categories_;
  bool any_dead_ = false;
  std::vector<double> xs_, ys_;  // everything that is drawn
  std::vector<double> y_ticks_;
  std::vector<Label> labels_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0, height_ = 0, strip_ = 0;
  Scale x_, y_;
  std::string out_;
};

Drawing::Drawing(const Chart& chart, int width)
    : c_(chart),
      width_(width),
      wide_(width > 500),
      font_(wide_ ? 13 : 12),
      categories_(chart.x.categories.size()) {
  double label_width = 0;
  if (wide_ && !categories_)
    for (const Series& s : c_.series) {
      if (s.line.empty()) continue;
      labels_.push_back({0, &s});
      label_width = std::max(label_width, 1.08 * text_width(s.name, font_) + 14);
    }
  collect();
  strip_ = any_dead_ ? 24 : 0;
  top_ = font_ + 14 + strip_;
  // y first, since the width of its tick labels decides the left margin.
  y_ = fit(c_.y, ys_, 0, 0);
  room_above_marks();
  y_ticks_ = c_.y.ticks.empty() ? y_.ticks(wide_ ? 5 : 4) : c_.y.ticks;
  std::erase_if(y_ticks_, [&](double v) { return v < y_.lo || v > y_.hi; });
  left_ = any_dead_ ? text_width(c_.dead, font_) + 10 : 20;
  for (double t : y_ticks_) left_ = std::max(left_, text_width(short_number(t), font_) + 12);
  right_ = width_ - std::max(12.0, label_width);
  const double below = space_below(right_);
  height_ = plot_height() + top_ + below;
  bottom_ = height_ - below;
  x_ = fit(c_.x, xs_, left_, right_);
  y_.from = bottom_;
  y_.to = top_;
}

void Drawing::see(const std::vector<Point>& points) {
  for (const Point& p : points) {
    any_dead_ |= p.dead;
    xs_.push_back(p.x);
    if (!p.dead) ys_.push_back(p.y);
  }
}

void Drawing::collect() {
  for (const Series& s : c_.series) {
    see(s.dots);
    see(s.line);
    for (const Trace& t : s.seeds) see(t.line);
    for (const auto* list : {&s.band, &s.bars})
      for (const Band& b : *list) {
        xs_.push_back(b.x);
        ys_.push_back(b.lo);
        ys_.push_back(b.hi);
      }
  }
  for (const Mark& m : c_.marks) ys_.push_back(m.y);
}

// Height of the labels under the plot.
double Drawing::space_below(double right) const {
  size_t lines = 1;
  const double slot = (right - left_) / static_cast<double>(std::max<size_t>(1, categories_));
  for (const auto& name : c_.x.categories)
    lines = std::max(lines, wrap(name, slot - 4, font_).size());
  if (!c_.series.empty()) lines += is_column(c_.series[0]);  // its mean, in words
  return static_cast<double>(lines) * (font_ + 3) + (c_.x.label.empty() ? 6 : font_ + 12);
}

void Drawing::text(double x, double y, const char* anchor, const std::string& s, const char* cls) {
  out_ += fmt::format(R"(<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)", cls,
                      x, y, anchor, escape(s));
}

void Drawing::y_axis() {
  text(0, font_, "start", c_.y.label + (c_.y.log ? " (log scale)" : ""), "axis");
  for (double t : y_ticks_) {
    out_ += fmt::format(R"(<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>)", left_, y_(t), right_);
    text(left_ - 6, y_(t) + font_ * 0.35, "end", short_number(t));
  }
  out_ += fmt::format(R"(<path class="frame" d="M{:.1f} {:.1f}H{:.1f}"/>)", left_, bottom_, right_);
}

void Drawing::strip_of_the_dead() {
  out_ +=
      fmt::format(R"(<rect class="strip" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)",
                  left_, top_ - strip_ + 2, right_ - left_, strip_ - 6);
  text(left_ - 6, y_of_dead() + font_ * 0.35, "end", c_.dead);
}

void Drawing::x_axis() {
  if (categories_) category_labels();
  else x_ticks();
  if (!c_.x.label.empty())
    text((left_ + right_) / 2, height_ - 4, "middle", c_.x.label + (c_.x.log ? " (log scale)" : ""),
         "axis");
}

void Drawing::category_labels() {
  double largest = 0;  // of the means in words
  for (const Series& s : c_.series)
    if (s.line.size() == 1 && !s.line[0].dead) largest = std::max(largest, std::abs(s.line[0].y));
  for (size_t i = 0; i < categories_; ++i) {
    const auto position = static_cast<double>(i);
    double at = bottom_ + font_ + 4;
    for (const auto& line : wrap(c_.x.categories[i], slot() - 4, font_)) {
      const double fits = (slot() - 4) / (1.08 * text_width(line, font_));
      out_ += fmt::format(
          R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle"{}>{}</text>)",
          x_(position), at, fits < 1 ? fmt::format(R"( font-size="{:.1f}")", font_ * fits) : "",
          escape(line));
      at += font_ + 3;
    }
    for (const Series& s : c_.series) {  // the mean of the column, in words
      if (s.line.size() != 1 || s.line[0].x != position) continue;
      out_ += fmt::format(
          R"(<text class="value {}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
          css(s.look), x_(position), at,
          s.line[0].dead ? c_.dead : number_in(s.line[0].y, largest, slot() - 4, font_));
    }
  }
}

void Drawing::x_ticks() {
  double last = -1e9;
  for (double t : c_.x.ticks.empty() ? x_.ticks(wide_ ? 7 : 4) : c_.x.ticks) {
    if (t < x_.lo || t > x_.hi) continue;
    out_ += fmt::format(R"(<path class="frame" d="M{:.1f} {:.1f}v4"/>)", x_(t), bottom_);
    const double half = text_width(short_number(t), font_) / 2;
    if (x_(t) - half < last + 6) continue;
    text(x_(t), bottom_ + font_ + 5, "middle", short_number(t));
    last = x_(t) + half;
  }
}

// An axis that the data decide leaves room for the text above a mark at its upper end.
void Drawing::room_above_marks() {
  if (c_.y.log || !std::isnan(c_.y.hi)) return;
  const double room = (font_ + 10) / plot_height();
  for (const Mark& m : c_.marks) y_.hi = std::max(y_.hi, (m.y - room * y_.lo) / (1 - room));
}

// Where the series leave ink, in pixels.
std::vector<Point> Drawing::drawn() const {
  std::vector<Point> points;
  const auto pixel = [this](const Point& p) { return Point{x_(p.x), y_(p.y)}; };
  const auto follow = [&](const std::vector<Point>& line) {
    for (size_t i = 1; i < line.size(); ++i)
      if (!line[i - 1].dead && !line[i].dead) trace(pixel(line[i - 1]), pixel(line[i]), points);
  };
  for (const Series& s : c_.series) {
    follow(s.line);
    for (const Trace& t : s.seeds) follow(t.line);
    for (const Point& p : s.dots) {
      if (p.dead) continue;
      const auto [x, y] = std::pair{x_(p.x), y_(p.y)};
      for (const auto& [right, down] : {std::pair{0, 0}, {-5, 0}, {5, 0}, {0, -5}, {0, 5}})
        points.push_back({x + right, y + down});  // a marker's middle and corners
    }
    for (const Band& b : s.bars) trace(pixel({b.x, b.lo}), pixel({b.x, b.hi}), points);
  }
  return points;
}

void Drawing::marks() {
  const std::vector<Point> points = drawn();
  const Box plot{left_, right_, top_, bottom_};
  std::vector<Box> texts;
  for (const Mark& m : c_.marks) {
    out_ +=
        fmt::format(R"(<path class="mark" d="M{:.1f} {:.1f}H{:.1f}"/>)", left_, y_(m.y), right_);
    const auto place =
        place_beside(y_(m.y), plot, text_width(m.label, font_), font_, points, texts);
    if (!place) continue;
    text(place->left, place->bottom - 3, "start", m.label, "marktext");
    texts.push_back(*place);
  }
}

// Thin lines join the dots of one seed from series to series.
void Drawing::pairs() {
  size_t n = 0;
  for (const Series& s : c_.series) n = std::max(n, s.dots.size());
  for (size_t i = 0; i < n; ++i) {
    std::string d;
    for (const Series& s : c_.series) {
      if (i >= s.dots.size() || s.dots[i].dead) continue;
      d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x_(s.dots[i].x), y_(s.dots[i].y));
    }
    out_ += fmt::format(R"(<path class="pair" d="{}"/>)", d);
  }
}

// With a gap where a run is dead.
std::string Drawing::path(const std::vector<Point>& points) const {
  std::string d;
  bool pen = false;
  for (const Point& p : points) {
    if (!p.dead) d += fmt::format("{}{:.1f} {:.1f}", pen ? "L" : "M", x_(p.x), y_(p.y));
    pen = !p.dead;
  }
  return d;
}

void Drawing::band(const Series& s) {
  std::string d;
  for (const Band& b : s.band)
    d += fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x_(b.x), y_(b.hi));
  for (size_t i = s.band.size(); i-- > 0;)
    d += fmt::format("L{:.1f} {:.1f}", x_(s.band[i].x), y_(s.band[i].lo));
  out_ += fmt::format(R"(<path class="band" d="{}z"/>)", d);
}

void Drawing::bars(const Series& s) {
  for (const Band& b : s.bars) {
    const double at = x_(b.x);
    const double lo = y_(std::max(b.lo, y_.lo));
    const double hi = y_(std::min(b.hi, y_.hi));
    out_ += fmt::format(
        R"(<path class="bar" d="M{:.1f} {:.1f}V{:.1f}m-5 0h10M{:.1f} {:.1f}h10"><title>{}</title></path>)",
        at, lo, hi, at - 5, lo,
        escape(fmt::format("{}: 95 % interval {} to {}", s.name, short_number(b.lo),
                           short_number(b.hi))));
  }
}

void Drawing::mean_of_column(const Series& s) {
  const Point& p = s.line[0];
  const double half = std::min(26.0, 0.3 * slot());
  out_ += fmt::format(R"(<path class="mean" d="M{:.1f} {:.1f}h{:.1f}"><title>{}</title></path>)",
                      x_(p.x) - half, y_(p.y), 2 * half, escape(hover_of(s, p, c_.x)));
}

void Drawing::series(const Series& s) {
  out_ += fmt::format(R"(<g class="{}">)", css(s.look));
  if (s.band.size() > 1) band(s);
  bars(s);
  for (const Trace& t : s.seeds)
    out_ += fmt::format(R"(<path class="trace" d="{}"><title>{}, {}</title></path>)", path(t.line),
                        escape(s.name), escape(t.hover));
  const std::string d = path(s.line);
  if (!d.empty()) out_ += fmt::format(R"(<path class="line{}" d="{}"/>)", stroke(s), d);
  for (const Point& p : s.dots)
    out_ += p.dead ? cross(x_(p.x), y_of_dead(), hover_of(s, p, c_.x))
                   : marker(s.look, x_(p.x), y_(p.y), wide_ ? 3.6 : 3.2, hover_of(s, p, c_.x));
  if (is_column(s) && !s.line[0].dead) mean_of_column(s);
  out_ += "</g>";
}

// Each at the last living point of its line; then pushed apart from top to bottom and back.
void Drawing::labels() {
  for (Label& l : labels_) {
    const auto& line = l.series->line;
    const auto last =
        std::find_if(line.rbegin(), line.rend(), [](const Point& p) { return !p.dead; });
    l.at = last == line.rend() ? top_ - strip_ / 2 : std::clamp(y_(last->y), top_, bottom_);
  }
  std::ranges::sort(labels_, {}, [](const Label& l) { return std::pair(l.at, l.series); });
  for (size_t i = 1; i < labels_.size(); ++i)
    labels_[i].at = std::max(labels_[i].at, labels_[i - 1].at + font_ + 3);
  double limit = bottom_;
  for (size_t i = labels_.size(); i-- > 0; limit = labels_[i].at - font_ - 3)
    labels_[i].at = std::min(labels_[i].at, limit);
  for (const Label& l : labels_)
    out_ +=
        fmt::format(R"(<text class="label {}" x="{:.1f}" y="{:.1f}">{}</text>)",
                    css(l.series->look), right_ + 8, l.at + font_ * 0.35, escape(l.series->name));
}

std::string Drawing::svg() {
  out_ = fmt::format(
      R"(<svg class="{}" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="img" aria-label="{}" font-size="{}">)",
      wide_ ? "wide" : "narrow", width_, height_, width_, height_, escape(c_.title), font_);
  y_axis();
  if (any_dead_) strip_of_the_dead();
  x_axis();
  marks();
  if (c_.paired) pairs();
  for (const Series& s : c_.series) series(s);
  labels();
  return out_ + "</svg>";
}

}  // namespace

const char* css(Look look) {
  constexpr const char* names[] = {"s-blue",   "s-orange", "s-green", "s-gray",
                                   "s-purple", "s-yellow", "s-ink"};
  return names[static_cast<size_t>(look)];
}

std::string to_svg(const Chart& chart, int width) { return Drawing(chart, width).svg(); }

namespace {

std::string legend_of(const Chart& c) {
  if (!c.x.categories.empty() && c.x.categories.size() == c.series.size()) return "";
  // Lines carry their name at their right end on a wide page; there the legend is hidden.
  const bool labelled =
      c.x.categories.empty() &&
      std::ranges::all_of(c.series, [](const Series& s) { return !s.line.empty(); });
  std::string entries;
  for (const Series& s : c.series)
    entries += fmt::format(
        R"(<span class="{}"><svg width="22" height="12" aria-hidden="true">{}{}</svg>{}</span>)",
        css(s.look),
        s.line.empty() ? "" : fmt::format(R"(<path class="line{}" d="M0 6H22"/>)", stroke(s)),
        marker(s.look, 11, 6, 3.6, ""), escape(s.name));
  return fmt::format(R"(<div class="legend{}">{}</div>)", labelled ? " labelled" : "", entries);
}

}  // namespace

std::string to_figure(const Chart& c) {
  return fmt::format("<figure class=\"chart\"><figcaption>{}</figcaption>{}{}{}{}</figure>\n",
                     escape(c.title), legend_of(c), to_svg(c, 720), to_svg(c, 352),
                     note_of(c.note));
}

}  // namespace loupe::view
