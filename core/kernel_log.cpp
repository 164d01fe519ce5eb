#include <loupe/core/kernel_log.h>

namespace loupe {
namespace {
thread_local const char* t_last = "";
}

void log_kernel(const char* name) { t_last = name; }
const char* last_kernel() { return t_last; }
void clear_kernel_log() { t_last = ""; }

}  // namespace loupe
