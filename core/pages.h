#pragma once
// What the system is told of memory's pages. Systems that cannot be told anything do nothing.
#include <cstddef>

namespace loupe::pages {

/// Pages of 2 MiB would serve this block: one entry of the TLB covers each.
void ask_for_huge(void* p, size_t bytes);
/// The whole pages inside the block may go: it keeps its addresses, and loses what it holds.
void give_back(void* p, size_t bytes);

}  // namespace loupe::pages
