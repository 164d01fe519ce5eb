// Which instruction set's kernels run: a row for each.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/micro/micro.h>

namespace loupe::kernels {

namespace baseline {
extern const Micro table;
}
namespace v3 {
extern const Micro table;
}
namespace v4 {
extern const Micro table;
}

const Micro& micro() {
#if LOUPE_X86_LEVELS
  switch (cpu_level()) {
    case CpuLevel::v4: return v4::table;
    case CpuLevel::v3: return v3::table;
    default: break;
  }
#endif
  return baseline::table;
}

}  // namespace loupe::kernels
