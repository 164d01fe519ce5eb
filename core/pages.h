#pragma once
// What the system is told of memory's pages. Systems that cannot be told anything do nothing.
#include <cstddef>

namespace loupe::pages {

/// Asks the system for pages of 2 MiB for this block. The CPU's address cache (TLB) needs only one
/// entry for such a page.
void ask_for_huge(void* p, size_t bytes);
/// Gives the whole pages inside the block back to the system. Their addresses stay valid, their
/// contents are lost.
void give_back(void* p, size_t bytes);

}  // namespace loupe::pages
