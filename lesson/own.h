#pragma once
// A norm of one's own in the lesson. Every claim is measured once more with it in BatchNorm's place,
// and once more in LayerNorm's; runs without it are shared. What it did there is put beside the
// claim's own arms: lines, a bar of the picture, series of the charts, rows of the tables.
#include <loupe/lesson/lesson.h>

namespace loupe::lesson {

/// A claim measured with one's own norm in a place: "BatchNorm" or "LayerNorm".
struct InPlace {
  std::string place;
  std::vector<ClaimResult> claims{};  // in the lesson's order
};

/// ValueError where one's own norm has no name, or that of a norm of the lesson.
void check_own(const Norm& own);
/// Adds to each claim what one's own norm did in the places. A line that says the same in both
/// places is added once. Ids: "C3d@LayerNorm".
void add_own(std::vector<ClaimResult>& claims, const std::vector<InPlace>& places,
             const std::string& own);

}  // namespace loupe::lesson

/// Makes the norm that `make` returns (a function without arguments) known to
/// `exercises/graduate --norm FILE`: once in the file, outside every namespace.
#define LOUPE_OWN_NORM(make) \
  extern "C" void loupe_own_norm(loupe::lesson::Norm* norm) { *norm = make(); }
