#include <loupe/core/pages.h>

#if defined(__linux__)

#include <sys/mman.h>

#include <cstdint>

namespace loupe::pages {

void ask_for_huge(void* p, size_t bytes) { madvise(p, bytes, MADV_HUGEPAGE); }

void give_back(void* p, size_t bytes) {
  constexpr uintptr_t kPage = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(p);
  const uintptr_t first = (begin + kPage - 1) & ~(kPage - 1);
  const uintptr_t last = (begin + bytes) & ~(kPage - 1);
  madvise(static_cast<char*>(p) + (first - begin), last - first, MADV_DONTNEED);
}

}  // namespace loupe::pages

#else

namespace loupe::pages {

void ask_for_huge(void*, size_t) {}
void give_back(void*, size_t) {}

}  // namespace loupe::pages

#endif
