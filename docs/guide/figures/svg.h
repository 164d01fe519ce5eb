#pragma once
// A small writer of SVG pictures. They carry the colours of both schemes, so that a page shows them
// in light and in dark.
#include <cstdio>
#include <fstream>
#include <string>

namespace guide {

inline std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  std::string s = text;
  if (s.size() > 2 && s.substr(s.size() - 2) == ".0") s.resize(s.size() - 2);
  return s == "-0" ? "0" : s;
}

inline std::string format(const char* pattern, double v) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, v);
  return text;
}

/// Shapes take a class, whose colours the style holds: box, leaf, warm, cool, plain, line, strong,
/// faint; texts take title, small, good, bad, middle, end or none.
class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}

  void rect(double x, double y, double w, double h, const std::string& kind, double round = 4,
            const std::string& style = "") {
    body_ += "<rect x='" + number(x) + "' y='" + number(y) + "' width='" + number(w) +
             "' height='" + number(h) + "' rx='" + number(round) + "' class='" + kind + "'" +
             styled(style) + "/>\n";
  }
  void text(double x, double y, const std::string& words, const std::string& kind = "") {
    body_ += "<text x='" + number(x) + "' y='" + number(y) + "' class='" + kind + "'>" +
             escaped(words) + "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const std::string& kind = "line") {
    body_ += "<line x1='" + number(x1) + "' y1='" + number(y1) + "' x2='" + number(x2) + "' y2='" +
             number(y2) + "' class='" + kind + "'/>\n";
  }
  void arrow(double x1, double y1, double x2, double y2, const std::string& kind = "line") {
    body_ += "<line x1='" + number(x1) + "' y1='" + number(y1) + "' x2='" + number(x2) + "' y2='" +
             number(y2) + "' class='" + kind + "' marker-end='url(#head)'/>\n";
  }
  void circle(double x, double y, double r, const std::string& kind) {
    body_ += "<circle cx='" + number(x) + "' cy='" + number(y) + "' r='" + number(r) + "' class='" +
             kind + "'/>\n";
  }
  /// An SVG path, for example "M0 0L10 10".
  void path(const std::string& d, const std::string& kind) {
    body_ += "<path d='" + d + "' class='" + kind + "'/>\n";
  }

  void save(const std::string& name) const {
    std::ofstream out(name, std::ios::binary);
    out << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " << number(width_) << " "
        << number(height_) << "' width='" << number(width_) << "' height='" << number(height_)
        << "'>\n"
        << kStyle
        << "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' "
           "markerHeight='7' orient='auto'><path d='M0 0L8 4L0 8z' class='head'/></marker></defs>\n"
        << "<rect width='" << number(width_) << "' height='" << number(height_)
        << "' rx='6' class='ground'/>\n"
        << body_ << "</svg>\n";
  }

 private:
  static std::string styled(const std::string& style) {
    return style.empty() ? "" : " style='" + style + "'";
  }
  static std::string escaped(const std::string& words) {
    std::string out;
    for (char c : words) {
      if (c == '<') out += "&lt;";
      else if (c == '>') out += "&gt;";
      else if (c == '&') out += "&amp;";
      else out += c;
    }
    return out;
  }
  static constexpr const char* kStyle = R"(<style>
.ground{fill:#fff} text{font:13px sans-serif;fill:#1f2328} .title{font-weight:600} .small{font-size:11px}
.middle{text-anchor:middle} .end{text-anchor:end} .mono{font-family:monospace} .quiet{fill:#59636e}
.good{fill:#1a7f37} .bad{fill:#c2251c} .blue{fill:#0b5cad} .orange{fill:#a04100}
.box{fill:#e9f1fb;stroke:#3b73b9} .leaf{fill:#fdf1df;stroke:#b7791f} .plain{fill:#f3f4f6;stroke:#8c959f}
.warm{fill:#f6b26b;stroke:#fff} .cool{fill:#6fa8dc;stroke:#fff} .third{fill:#93c47d;stroke:#fff}
.fourth{fill:#c9a0dc;stroke:#fff} .empty{fill:none;stroke:#8c959f}
.line{stroke:#59636e;fill:none;stroke-width:1.4} .faint{stroke:#d1d9e0;fill:none}
.curve1{stroke:#0b5cad;fill:none;stroke-width:2.2} .curve2{stroke:#c2571a;fill:none;stroke-width:2.2}
.curve3{stroke:#1a7f37;fill:none;stroke-width:2.2;stroke-dasharray:6 3} .curve4{stroke:#8250df;fill:none;stroke-width:2.2;stroke-dasharray:2 3}
.dashed{stroke:#c2251c;stroke-width:1.4;stroke-dasharray:4 3;fill:none} .head{fill:#59636e}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117} text{fill:#e6edf3} .quiet{fill:#9198a1}
.good{fill:#56d364} .bad{fill:#ff8b82} .blue{fill:#79b8ff} .orange{fill:#f0a35e}
.box{fill:#172a45;stroke:#5b9bea} .leaf{fill:#3a2c12;stroke:#d9a441} .plain{fill:#21262d;stroke:#7d8590}
.warm{fill:#a9622a;stroke:#0d1117} .cool{fill:#2f6299;stroke:#0d1117} .third{fill:#45743a;stroke:#0d1117}
.fourth{fill:#6b4a80;stroke:#0d1117} .empty{stroke:#7d8590}
.line{stroke:#9198a1} .faint{stroke:#30363d} .curve1{stroke:#79b8ff} .curve2{stroke:#f0a35e} .curve3{stroke:#56d364}
.curve4{stroke:#c4a5ff} .dashed{stroke:#ff8b82} .head{fill:#9198a1}}
</style>
)";
  double width_, height_;
  std::string body_;
};

}  // namespace guide
