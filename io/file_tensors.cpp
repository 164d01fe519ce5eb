#include <loupe/core/error.h>
#include <loupe/io/file_tensors.h>

namespace loupe {

const Tensor& FileTensors::at(const std::string& name) const {
  if (const auto found = find(name); found != end()) return found->second;
  if (const auto why = unread.find(name); why != unread.end()) throw IoError(why->second);
  std::string names;
  for (const auto& [other, tensor] : *this) names += (names.empty() ? "" : ", ") + other;
  fail<IoError>("{}: holds no '{}'; it holds {}", file, name, names.empty() ? "nothing" : names);
}

}  // namespace loupe
