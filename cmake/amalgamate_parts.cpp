// For cmake/amalgamate.py: the kernels that every x86-64 processor can run in place of a choice.
#include <loupe/core/kernels/micro/micro.h>

namespace loupe::kernels {

namespace baseline {
extern const Micro table;
}
const Micro& micro() { return baseline::table; }

}  // namespace loupe::kernels
