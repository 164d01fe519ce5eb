#pragma once
// Which kernel ran: families with several kernels for one op (convolution, products) leave a name
// here, so that tests can require the kernel they are about, and shadow mode can name it.

namespace loupe {

/// Notes the name (a literal) for the calling thread.
void log_kernel(const char* name);
/// The latest name on this thread; "" if none since clear_kernel_log().
const char* last_kernel();
void clear_kernel_log();

}  // namespace loupe
