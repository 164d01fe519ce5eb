// Where the windows of a pooling lie.
#include <loupe/core/kernels/pool/windows.h>

namespace loupe::kernels {

std::vector<Range> windows(int64_t size, const WindowRule& rule) {
  const int64_t span = rule.dilation * (rule.kernel - 1) + 1;
  const int64_t room = size + 2 * rule.padding - span;  // for the first window's begin
  int64_t count = (room + (rule.ceil_mode ? rule.stride - 1 : 0)) / rule.stride + 1;
  // The last window begins inside the image or the padding before it.
  if (rule.ceil_mode && (count - 1) * rule.stride >= size + rule.padding) --count;
  std::vector<Range> list;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i * rule.stride - rule.padding;
    const int64_t skipped = at < 0 ? (-at + rule.dilation - 1) / rule.dilation : 0;
    const int64_t begin = at + skipped * rule.dilation, end = std::min(at + span, size);
    const int64_t with_padding = std::min(at + span, size + rule.padding) - at;
    const int64_t inside = std::max<int64_t>(0, end - begin);
    list.push_back({begin, end, rule.dilation, rule.count_include_pad ? with_padding : inside});
  }
  return list;
}

std::vector<Range> adaptive_windows(int64_t size, int64_t count) {
  std::vector<Range> list;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * size / count;
    const int64_t end = ((i + 1) * size + count - 1) / count;
    list.push_back({begin, end, 1, end - begin});
  }
  return list;
}

}  // namespace loupe::kernels
