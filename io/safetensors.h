#pragma once
// safetensors (github.com/huggingface/safetensors): u64 header size, JSON header, then row-major
// little-endian data without holes. Strict in reading; in writing, byte for byte what the reference
// implementation writes.
#include <loupe/core/named.h>
#include <loupe/io/file.h>

#include <map>
#include <string>
#include <vector>

namespace loupe {

using TensorMap = std::map<std::string, Tensor>;
using Metadata = std::map<std::string, std::string>;

/// The tensors as load_state_dict takes them.
StateDict to_state_dict(const TensorMap& tensors);

/// One tensor as the header describes it.
struct SafetensorsEntry {
  std::string name, dtype;  // the file's word: "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes within the data
};
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  Metadata metadata;
  uint64_t data_offset = 0;  // where the data start in the file
};

/// Checks the whole header: its size (at most 100 MB), JSON, duplicate names, known dtypes, and
/// that the tensors cover the data exactly, without holes or overlaps. IoError with file, offset
/// and reason.
SafetensorsHeader read_safetensors_header(Bytes bytes, const std::string& name);
SafetensorsHeader read_safetensors_header(const std::string& path);

struct SafetensorsFile {
  TensorMap tensors;
  Metadata metadata;
};
/// Maps the file: F32, F64, I64, U8 and BOOL tensors are views of it (writing to them leaves the
/// file alone); F16 and BF16 become f32, I32 becomes i64. IoError for other dtypes, a rank above 8
/// or a BOOL that is not 0 or 1.
SafetensorsFile load_safetensors(const std::string& path);
/// The same over bytes that `owner` keeps alive, or the caller if it is null.
SafetensorsFile load_safetensors(Bytes bytes, std::shared_ptr<const void> owner,
                                 const std::string& name);

/// Writes atomically. Tensors are ordered as the reference does: by dtype (I64, F64, F32, U8,
/// BOOL), then by name. ValueError for a name or metadata that is not UTF-8, or a tensor named
/// "__metadata__".
void save_safetensors(const std::string& path, const TensorMap& tensors,
                      const Metadata& metadata = {});
/// The file's bytes.
std::string encode_safetensors(const TensorMap& tensors, const Metadata& metadata = {});

/// IEEE half and bfloat16 to float, exactly.
float half_to_float(uint16_t bits);
float bfloat16_to_float(uint16_t bits);

}  // namespace loupe
