#pragma once
// safetensors (github.com/huggingface/safetensors): u64 header size, JSON header, then row-major
// little-endian data without holes. Strict in reading; in writing, byte for byte what the reference
// implementation writes.
#include <loupe/core/named.h>
#include <loupe/io/file.h>
#include <loupe/io/file_tensors.h>

#include <map>
#include <string>
#include <vector>

namespace loupe {

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
  FileTensors tensors;
  Metadata metadata;
};
/// Maps the file: F32, F64, I64, U8 and BOOL tensors are views of it (copies where another
/// writer left them unaligned; writing to them leaves the file alone); F16, BF16, F8_E4M3 and
/// F8_E5M2 become f32; I8, I16, I32, U16, U32 and U64 become i64. Tensors of other dtypes, with
/// more than 8 dimensions or a U64 above 2^63 - 1 stand in `tensors.unread`. IoError for a damaged
/// file or a BOOL that is not 0 or 1.
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

/// IEEE half, bfloat16 and the 8-bit float of 4 exponent bits (Micikevicius et al., "FP8 formats
/// for deep learning", 2022; no infinities) to float, exactly.
float half_to_float(uint16_t bits);
float bfloat16_to_float(uint16_t bits);
float float8_e4m3_to_float(uint8_t bits);

}  // namespace loupe
