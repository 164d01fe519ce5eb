#include <loupe/layers/sequential.h>

namespace loupe {

Tensor Sequential::forward(In x) {
  if (modules_.empty()) return x;
  Tensor y = modules_[0]->call(x);
  for (size_t i = 1; i < modules_.size(); ++i) y = modules_[i]->call({y, x.here.file, x.here.line});
  return y;
}

void Sequential::visit(Visitor& v) {
  for (size_t i = 0; i < modules_.size(); ++i) v.child(std::to_string(i), *modules_[i]);
}

Module& Sequential::operator[](size_t i) {
  if (i >= modules_.size()) fail<IndexError>("Sequential: module {} of {}", i, modules_.size());
  return *modules_[i];
}

}  // namespace loupe
