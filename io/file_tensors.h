#pragma once
// What a file of named tensors holds.
#include <loupe/core/tensor.h>

#include <map>
#include <string>

namespace loupe {

using TensorMap = std::map<std::string, Tensor>;

/// The tensors of a safetensors or .npz file that Loupe has a type for. A tensor of another
/// type is no error: it is left out, and at() says why.
struct FileTensors : TensorMap {
  using TensorMap::TensorMap;
  std::string file;                           // for errors
  std::map<std::string, std::string> unread;  // name -> why

  /// IoError if it was left out, with the reason, or if there is none of this name.
  const Tensor& at(const std::string& name) const;
};

}  // namespace loupe
