#include <loupe/core/raw.h>

#include <cmath>
#include <ostream>

namespace loupe {
namespace {

constexpr int64_t kSummarizeFrom = 1000;  // elements
constexpr int64_t kEdge = 3;              // shown at either end of a shortened dimension

// One format for all elements of a tensor, chosen from those that are shown.
struct Format {
  bool integers = true, scientific = false;
  size_t width = 0;
  std::string operator()(double x) const {
    if (std::isnan(x)) return "nan";
    if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
    if (scientific) return fmt::format("{:.4e}", x);
    return integers ? fmt::format("{:.0f}.", x) : fmt::format("{:.4f}", x);
  }
};

std::vector<int64_t> shown(int64_t n, bool shorten) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < n; ++i) {
    if (shorten && n > 2 * kEdge && i == kEdge) {
      out.push_back(-1);  // the ellipsis
      i = n - kEdge;
    }
    out.push_back(i);
  }
  return out;
}

template <class Visit>
void visit_shown(const Tensor& t, int axis, int64_t offset, bool shorten, const Visit& visit) {
  if (axis == t.dim()) return visit(offset);
  for (int64_t i : shown(t.shape()[axis], shorten))
    if (i >= 0) visit_shown(t, axis + 1, offset + i * t.strides()[axis], shorten, visit);
}

template <class Element>
void print(std::string& out, const Tensor& t, int axis, int64_t offset, bool shorten,
           const Element& element) {
  if (axis == t.dim()) {
    out += element(offset);
    return;
  }
  const bool last = axis + 1 == t.dim();
  out += '[';
  bool first = true;
  for (int64_t i : shown(t.shape()[axis], shorten)) {
    if (!first) {
      out += last ? ", " : ",";
      if (!last)
        out += std::string(static_cast<size_t>(t.dim() - axis - 1), '\n') +
               std::string(static_cast<size_t>(axis) + 8, ' ');
    }
    first = false;
    if (i < 0) out += "...";
    else print(out, t, axis + 1, offset + i * t.strides()[axis], shorten, element);
  }
  out += ']';
}

}  // namespace

std::string to_string(const Tensor& t) {
  if (!t.defined()) return "tensor(undefined)";
  const bool shorten = t.numel() > kSummarizeFrom;
  std::string out = "tensor(";
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    const T* p = t.ptr<T>();
    if constexpr (std::is_floating_point_v<T>) {
      Format format;
      double largest = 0, smallest = INFINITY;
      if (t.numel() > 0)
        visit_shown(t, 0, 0, shorten, [&](int64_t at) {
          const double x = std::abs(static_cast<double>(p[at]));
          if (!std::isfinite(x)) return;
          if (x != std::floor(x)) format.integers = false;
          largest = std::max(largest, x);
          if (x > 0) smallest = std::min(smallest, x);
        });
      format.scientific =
          largest >= 1e8 || (!format.integers && (largest / smallest > 1e5 || smallest < 1e-4));
      if (t.numel() > 0)
        visit_shown(t, 0, 0, shorten, [&](int64_t at) {
          format.width = std::max(format.width, format(static_cast<double>(p[at])).size());
        });
      print(out, t, 0, 0, shorten, [&](int64_t at) {
        return fmt::format("{:>{}}", format(static_cast<double>(p[at])), format.width);
      });
    } else {
      size_t width = 0;
      const auto text = [&](int64_t at) -> std::string {
        if constexpr (std::is_same_v<T, bool>) return p[at] ? "true" : "false";
        else return std::to_string(p[at]);
      };
      if (t.numel() > 0)
        visit_shown(t, 0, 0, shorten,
                    [&](int64_t at) { width = std::max(width, text(at).size()); });
      print(out, t, 0, 0, shorten,
            [&](int64_t at) { return fmt::format("{:>{}}", text(at), width); });
    }
  });
  if (t.numel() == 0) out = fmt::format("tensor([], shape={}", t.shape());
  else if (shorten) out += fmt::format(", shape={}", t.shape());
  if (t.dtype() != DType::f32) out += fmt::format(", {}", t.dtype());
  return out + ")";
}

std::ostream& operator<<(std::ostream& out, const Tensor& t) { return out << to_string(t); }
std::ostream& operator<<(std::ostream& out, const Dims& d) { return out << to_string(d); }
std::ostream& operator<<(std::ostream& out, DType t) { return out << name(t); }

}  // namespace loupe
