#include <loupe/io/idx.h>
#include <loupe/io/inflate.h>

#include <algorithm>
#include <optional>

namespace loupe {
namespace {

size_t element_size(uint8_t type) {
  switch (type) {
    case IdxArray::u8:
    case IdxArray::i8: return 1;
    case IdxArray::i16: return 2;
    case IdxArray::i32:
    case IdxArray::f32: return 4;
    case IdxArray::f64: return 8;
    default: return 0;
  }
}

}  // namespace

IdxArray read_idx(Bytes bytes, const std::string& name) {
  std::optional<Inflater> inflater;
  if (is_gzip(bytes)) inflater.emplace(bytes, Inflater::Format::gzip, name);
  ByteReader plain(bytes, name);
  std::vector<uint8_t> held;
  const auto next = [&](uint64_t n, const char* what) -> Bytes {
    if (!inflater) return plain.take(n, what);
    held = inflater->read_exactly(n, what);
    return held;
  };

  IdxArray a;
  const Bytes magic = next(4, "the IDX header");
  const uint8_t zero0 = magic[0], zero1 = magic[1], type = magic[2], rank = magic[3];
  if (zero0 != 0 || zero1 != 0)
    fail<IoError>("{}: offset 0: not an IDX file: it starts with {:02x} {:02x}, expected 00 00",
                  name, zero0, zero1);
  const uint64_t width = element_size(type);
  if (width == 0) fail<IoError>("{}: offset 2: IDX element type 0x{:02x} is unknown", name, type);
  if (rank < 1 || rank > 8)
    fail<IoError>("{}: offset 3: an IDX file of rank {}, expected 1 to 8", name, rank);
  a.type = static_cast<IdxArray::Type>(type);

  ByteReader sizes(next(4u * rank, "the IDX sizes"), name);
  uint64_t size = width;
  for (int i = 0; i < rank; ++i) {
    const uint32_t n = sizes.big32("an IDX size");
    if (__builtin_mul_overflow(size, n, &size) || size > uint64_t{1} << 62)
      fail<IoError>("{}: offset {}: the IDX sizes multiply to more than 2^62 bytes", name,
                    4 + 4 * i);
    a.shape.push_back(n);
  }
  if (inflater) {
    a.data = inflater->read_exactly(size, "the IDX data");
    inflater->expect_end();
  } else {
    const Bytes data = plain.take(size, "the IDX data");
    if (plain.left() > 0) plain.fail("{} bytes more than the IDX header says", plain.left());
    a.data.assign(data.begin(), data.end());
  }
  if (width > 1)
    for (auto p = a.data.begin(); p != a.data.end(); p += static_cast<ptrdiff_t>(width))
      std::reverse(p, p + static_cast<ptrdiff_t>(width));
  return a;
}

IdxArray read_idx(const std::string& path) { return read_idx(MappedFile(path).bytes(), path); }

void write_idx(const std::string& path, const std::vector<int64_t>& shape, Bytes data) {
  std::string header = {0, 0, IdxArray::u8, static_cast<char>(shape.size())};
  uint64_t size = 1;
  for (const int64_t n : shape) {
    if (n < 0 || n > UINT32_MAX || __builtin_mul_overflow(size, static_cast<uint64_t>(n), &size))
      fail<ShapeError>("write_idx: size {} does not fit the format", n);
    const uint32_t big = __builtin_bswap32(static_cast<uint32_t>(n));
    header.append(reinterpret_cast<const char*>(&big), 4);
  }
  if (shape.empty() || shape.size() > 8 || size != data.size())
    fail<ShapeError>("write_idx: {} sizes with product {} for {} bytes", shape.size(), size,
                     data.size());
  AtomicFile file(path);
  file.write(header);
  file.write(as_text(data));
  file.commit();
}

}  // namespace loupe
