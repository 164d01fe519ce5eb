#pragma once
// A folder of model files as Transformers and sentence-transformers write it.
#include <loupe/io/safetensors.h>

namespace loupe {

/// The weights in a folder: model.safetensors, or the shards that model.safetensors.index.json
/// names. IoError if there are neither, with what there is instead (weights of PyTorch's,
/// TensorFlow's or Flax's) and what to do; if a shard is missing or damaged; and if a tensor is not
/// in the shard that the index names, or in two.
FileTensors load_model_folder(const std::string& folder);

/// "; not read: ..." with the reasons of tensors that were left out; empty where there are none.
std::string unread_text(const FileTensors& tensors);

}  // namespace loupe
