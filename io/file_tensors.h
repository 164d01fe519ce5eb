#pragma once
// What a file of named tensors holds.
#include <loupe/core/tensor.h>

#include <map>
#include <string>

namespace loupe {

using TensorMap = std::map<std::string, Tensor>;

/// The tensors of a safetensors or .npz file that Loupe has a type for. The others are no damage
/// and hide nothing: they are left out, and asking for one says why.
struct FileTensors : TensorMap {
  using TensorMap::TensorMap;
  std::string file;                           // for errors
  std::map<std::string, std::string> unread;  // name -> why

  /// IoError if it was left out, with the reason, or if there is none of this name.
  const Tensor& at(const std::string& name) const;
};

}  // namespace loupe
