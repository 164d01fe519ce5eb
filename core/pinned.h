#pragma once

namespace loupe {

/// Base of a class that is neither copied nor moved: a scope's guard, an owner of what others point
/// into.
struct Pinned {
  Pinned() = default;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
};

}  // namespace loupe
