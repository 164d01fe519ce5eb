#include <loupe/autograd/ops.h>
#include <loupe/core/error.h>
#include <loupe/layers/state.h>
#include <loupe/view/chart.h>
#include <loupe/view/depth.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

constexpr double kBinsADecade = 4;

// The hooks of the layers, and what they hear.
class Layers : Pinned {
 public:
  explicit Layers(Module& model) {
    const auto modules = named_modules(model);
    for (size_t i = 0; i < modules.size(); ++i) {
      const auto& [path, module] = modules[i];
      const std::string inside = path.empty() ? "" : path + ".";
      const bool has_children =
          i + 1 < modules.size() && modules[i + 1].first.starts_with(inside);  // they follow it
      if (!has_children) follow(path, *module);
    }
  }
  ~Layers() {
    for (HookHandle& hook : hooks_) hook.remove();
  }
  std::vector<LayerValues> values;

 private:
  void follow(const std::string& path, Module& module) {
    hooks_.push_back(
        module.add_forward_hook([this, path](Module& m, const Tensor&, const Tensor& output) {
          values.push_back({path, m.type_name(), output.detach(), {}});
        }));
    hooks_.push_back(
        module.add_backward_hook([this, path](Module&, const Tensor&, const Tensor& gradient) {
          give(path, gradient);
          return Tensor();
        }));
  }
  // Calls of one layer come back in the reverse order.
  void give(const std::string& path, const Tensor& gradient) {
    for (auto call = values.rbegin(); call != values.rend(); ++call) {
      if (call->path != path || call->gradient.defined()) continue;
      call->gradient = gradient.defined() ? gradient.detach() : Tensor();
      return;
    }
  }
  std::vector<HookHandle> hooks_;
};

// --- The picture ---

constexpr double kRow = 46, kTop = 74, kNameColumn = 170, kPlot = 250, kNumbers = 124, kGap = 24;
constexpr double kBar = 32;  // height of the fullest bin

// The bins that are drawn: from the first to the last that holds more than a thousandth of some
// layer's values.
struct Range {
  int begin = Spread::kBins, end = 0;
  void take(const Spread& s) {
    for (int i = 0; i < Spread::kBins; ++i) {
      if (s.bins[static_cast<size_t>(i)] <= s.count / 1000) continue;
      begin = std::min(begin, i);
      end = std::max(end, i + 1);
    }
  }
  // Whole decades, two at the least.
  void round() {
    const int step = static_cast<int>(kBinsADecade);
    if (begin >= end) begin = Spread::kBins / 2, end = begin + 1;
    begin = begin / step * step;
    end = std::max((end + step - 1) / step * step, begin + 2 * step);
  }
  double decade(int bin) const { return Spread::kLowest + bin / kBinsADecade; }
};

std::string percent(int64_t part, int64_t whole) {
  return whole == 0 ? "0 %"
                    : fmt::format("{:.0f} %",
                                  100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// One histogram as a filled outline, with its numbers on the right.
std::string histogram(const Spread& s, const Range& range, double left, double bottom,
                      const char* css) {
  const int64_t most = std::max<int64_t>(1, *std::max_element(s.bins.begin(), s.bins.end()));
  const double width = kPlot / (range.end - range.begin);
  std::string path = fmt::format("M{:.1f} {:.1f}", left, bottom);
  for (int i = range.begin; i < range.end; ++i) {
    const double share =
        static_cast<double>(s.bins[static_cast<size_t>(i)]) / static_cast<double>(most);
    path += fmt::format("V{:.1f}h{:.2f}", bottom - kBar * share, width);
  }
  std::string out = fmt::format("<path class=\"{}\" d=\"{}V{:.1f}Z\"/>\n", css, path, bottom);
  const double x = left + kPlot + 8;
  out += fmt::format("<text class=\"n\" x=\"{:.0f}\" y=\"{:.0f}\">{} ± {}</text>\n", x, bottom - 14,
                     view::short_number(s.mean), view::short_number(s.deviation));
  out += fmt::format("<text class=\"n\" x=\"{:.0f}\" y=\"{:.0f}\">{} zeros{}</text>\n", x, bottom,
                     percent(s.zeros, s.count),
                     s.bad > 0 ? fmt::format(", {} NaN or Inf", s.bad) : "");
  return out;
}

std::string axis(const Range& range, double left, double bottom, const char* label) {
  std::string out = fmt::format("<text class=\"h\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n", left,
                                kTop - 24, label);
  const int step = static_cast<int>(kBinsADecade);
  const int decades = (range.end - range.begin) / step;
  const int every = std::max(1, (decades + 4) / 5);
  for (int d = 0; d <= decades; d += every) {
    const double x = left + kPlot * d / decades;
    out += fmt::format("<path class=\"g\" d=\"M{0:.1f} {1:.0f}V{2:.0f}\"/>\n", x, kTop - 8, bottom);
    out += fmt::format(
        "<text class=\"n\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.0f}\">1e{:.0f}</text>\n", x,
        bottom + 15, range.decade(range.begin + d * step));
  }
  return out;
}

constexpr const char* kStyle =
    "<style>svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#1d2327}.n{font-size:11px;"
    "fill:#5b646b}.h{font-weight:600}.g{stroke:#d9dcdc}.a{fill:#0072b2}.b{fill:#d55e00}"
    "@media(prefers-color-scheme:dark){svg{background:#14181b}text{fill:#e6e9ea}.n{fill:#a3adb3}"
    ".g{stroke:#353d42}.a{fill:#56b4e9}.b{fill:#f5a04a}}</style>\n";

}  // namespace

std::vector<LayerValues> values_over_depth(Module& model, const std::function<Tensor()>& loss) {
  if (!loss) fail<ValueError>("values_over_depth: the function is empty");
  Layers layers(model);
  const Tensor value = loss();
  if (!value.defined()) fail<ValueError>("values_over_depth: the loss is undefined");
  value.backward();
  return std::move(layers.values);
}

Spread spread_of(const Tensor& values) {
  Spread s;
  s.bins.assign(Spread::kBins, 0);
  s.count = values.numel();
  const std::vector<double> all = values.detach().to(DType::f64).to_vector<double>();
  int64_t finite = 0;
  for (const double v : all) {
    if (!std::isfinite(v)) {
      ++s.bad;
      continue;
    }
    ++finite;
    s.mean += (v - s.mean) / static_cast<double>(finite);
    if (v == 0) {
      ++s.zeros;
      continue;
    }
    const double bin = std::floor((std::log10(std::abs(v)) - Spread::kLowest) * kBinsADecade);
    ++s.bins[static_cast<size_t>(std::clamp(bin, 0.0, Spread::kBins - 1.0))];
  }
  double squares = 0;
  for (const double v : all)
    if (std::isfinite(v)) squares += (v - s.mean) * (v - s.mean);
  if (finite > 0) s.deviation = std::sqrt(squares / static_cast<double>(finite));
  return s;
}

std::string depth_svg(const std::vector<LayerValues>& layers, const std::string& title) {
  std::vector<Spread> outputs, gradients;
  Range out_range, grad_range;
  for (const LayerValues& l : layers) {
    outputs.push_back(spread_of(l.output));
    gradients.push_back(l.gradient.defined() ? spread_of(l.gradient) : Spread());
    out_range.take(outputs.back());
    if (l.gradient.defined()) grad_range.take(gradients.back());
  }
  out_range.round();
  grad_range.round();
  const double bottom = kTop + kRow * static_cast<double>(layers.size());
  const double first = kNameColumn, second = kNameColumn + kPlot + kNumbers + kGap;
  const double width = second + kPlot + kNumbers, height = bottom + 34;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\">\n",
      width, height);
  svg += kStyle;
  svg += fmt::format("<text class=\"h\" x=\"8\" y=\"24\">{}</text>\n", view::escape(title));
  svg += axis(out_range, first, bottom, "outputs, by magnitude");
  svg += axis(grad_range, second, bottom, "gradients of the outputs, by magnitude");
  for (size_t i = 0; i < layers.size(); ++i) {
    const double y = kTop + kRow * static_cast<double>(i + 1) - 8;
    const std::string& path = layers[i].path;
    svg += fmt::format("<text x=\"8\" y=\"{:.0f}\">{}</text>\n", y - 14,
                       view::escape(path.empty() ? "(the model)" : path));
    svg += fmt::format("<text class=\"n\" x=\"8\" y=\"{:.0f}\">{}</text>\n", y,
                       view::escape(layers[i].type));
    svg += histogram(outputs[i], out_range, first, y, "a");
    if (layers[i].gradient.defined()) svg += histogram(gradients[i], grad_range, second, y, "b");
  }
  return svg + "</svg>\n";
}

}  // namespace loupe
