// The build without BLAS (WebAssembly): nothing here is reached.
#include <loupe/core/blas.h>
#include <loupe/core/error.h>

namespace loupe::blas {

bool present() { return false; }

void gemm(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*,
          int64_t, float, float*, int64_t) {
  fail("blas: this build has none");
}
void gemm(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t, const double*,
          int64_t, double, double*, int64_t) {
  fail("blas: this build has none");
}

void stop_threads() {}
std::string description() { return "no BLAS"; }

}  // namespace loupe::blas
