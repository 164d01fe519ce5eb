#include <loupe/layers/pool.h>

namespace loupe::pool {

std::string described(const Pool2dOptions& o) {
  const Size2 stride = o.stride.value_or(o.kernel_size);
  std::string s = fmt::format("kernel ({}, {}), stride ({}, {})", o.kernel_size.h, o.kernel_size.w,
                              stride.h, stride.w);
  if (o.padding != Size2(0)) s += fmt::format(", padding ({}, {})", o.padding.h, o.padding.w);
  if (o.dilation != Size2(1)) s += fmt::format(", dilation ({}, {})", o.dilation.h, o.dilation.w);
  return o.ceil_mode ? s + ", ceil_mode" : s;
}

std::string described(const Pool1dOptions& o) {
  std::string s =
      fmt::format("kernel {}, stride {}", o.kernel_size, o.stride.value_or(o.kernel_size));
  if (o.padding != 0) s += fmt::format(", padding {}", o.padding);
  if (o.dilation != 1) s += fmt::format(", dilation {}", o.dilation);
  return o.ceil_mode ? s + ", ceil_mode" : s;
}

}  // namespace loupe::pool
