#pragma once
// IDX, the format of MNIST and Fashion-MNIST: two zero bytes, type, rank, big-endian sizes,
// row-major data.
#include <loupe/io/file.h>

#include <string>
#include <vector>

namespace loupe {

/// An IDX array with its elements in this machine's byte order.
struct IdxArray {
  enum Type : uint8_t { u8 = 0x08, i8 = 0x09, i16 = 0x0B, i32 = 0x0C, f32 = 0x0D, f64 = 0x0E };
  Type type = u8;
  std::vector<int64_t> shape;  // 1 to 8 sizes
  std::vector<uint8_t> data;   // product(shape) elements
};

/// Reads an IDX file, plain or gzip-compressed (told by its first bytes, not by its name). The data
/// must have exactly the size the header says. IoError names file, offset and reason.
IdxArray read_idx(const std::string& path);
/// The same from memory; `name` stands for the file in errors.
IdxArray read_idx(Bytes bytes, const std::string& name);

/// Writes a plain IDX file of bytes. ShapeError if the sizes do not fit the data.
void write_idx(const std::string& path, const std::vector<int64_t>& shape, Bytes data);

}  // namespace loupe
