#include "explain_parts.h"

#include <functional>

namespace loupe {
namespace {

using namespace explaining;

struct Entry {
  const char* layer;
  Document (*by_numbers)(const ExplainOptions&);
};
constexpr Entry kEntries[] = {
    {"linear", linear_by_numbers},
    {"conv2d", conv2d_by_numbers},
    {"batch_norm", batch_norm_by_numbers},
    {"layer_norm", layer_norm_by_numbers},
    {"rms_norm", rms_norm_by_numbers},
    {"group_norm", group_norm_by_numbers},
    {"attention", attention_by_numbers},
    {"cross_entropy", cross_entropy_by_numbers},
    {"adam", adam_by_numbers},
    {"norms", norms_by_numbers},
};

}  // namespace

std::vector<std::string> explained_layers() {
  std::vector<std::string> names;
  for (const Entry& e : kEntries) names.push_back(e.layer);
  return names;
}

Document explain(const std::string& layer, const ExplainOptions& options) {
  for (const Entry& e : kEntries)
    if (layer == e.layer) return e.by_numbers(options);
  std::string known;
  for (const Entry& e : kEntries) known += std::string(known.empty() ? "" : ", ") + e.layer;
  fail<ValueError>("explain: \"{}\" is not one of {}", layer, known);
}

}  // namespace loupe
