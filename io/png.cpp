#include <loupe/io/png.h>

#include <zlib.h>

#include <new>

namespace loupe {
namespace {

void append_big32(std::string& s, uint32_t v) {
  v = __builtin_bswap32(v);
  s.append(reinterpret_cast<const char*>(&v), 4);
}

void append_chunk(std::string& png, const char* type, const std::string& data) {
  append_big32(png, static_cast<uint32_t>(data.size()));
  const size_t start = png.size();
  png += type;
  png += data;
  const auto* covered = reinterpret_cast<const Bytef*>(png.data() + start);
  append_big32(png,
               static_cast<uint32_t>(crc32(0, covered, static_cast<uInt>(png.size() - start))));
}

}  // namespace

std::string encode_png(Bytes pixels, int64_t height, int64_t width, int channels) {
  constexpr int64_t kMax = 1 << 20;
  if (channels != 1 && channels != 3 && channels != 4)
    fail<ShapeError>("encode_png: {} channels, expected 1 (grey), 3 (RGB) or 4 (RGBA)", channels);
  if (height < 1 || width < 1 || height > kMax || width > kMax || height * width > kMax * 512 ||
      static_cast<int64_t>(pixels.size()) != height * width * channels)
    fail<ShapeError>("encode_png: {} bytes do not make an image of ({}, {}, {})", pixels.size(),
                     height, width, channels);

  const size_t row = static_cast<size_t>(width * channels), bpp = static_cast<size_t>(channels);
  std::string lines;  // each row: filter type 1, then the difference to the pixel on the left
  lines.reserve((row + 1) * static_cast<size_t>(height));
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    const uint8_t* p = pixels.data() + y * row;
    lines += '\1';
    for (size_t x = 0; x < row; ++x) lines += static_cast<char>(p[x] - (x < bpp ? 0 : p[x - bpp]));
  }
  uLongf size = compressBound(lines.size());
  std::string packed(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                reinterpret_cast<const Bytef*>(lines.data()), lines.size(), 6) != Z_OK)
    fail<OutOfMemory>("zlib: no memory left");
  packed.resize(size);

  std::string header;
  append_big32(header, static_cast<uint32_t>(width));
  append_big32(header, static_cast<uint32_t>(height));
  header += {8, static_cast<char>(channels == 1 ? 0 : channels == 3 ? 2 : 6), 0, 0, 0};
  std::string png = "\x89PNG\r\n\x1a\n";
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", packed);
  append_chunk(png, "IEND", "");
  return png;
}

void write_png(const std::string& path, Bytes pixels, int64_t height, int64_t width, int channels) {
  write_file(path, encode_png(pixels, height, width, channels));
}

void write_png(const std::string& path, const Tensor& picture) {
  if (picture.dim() != 3)
    fail<ShapeError>("write_png: needs (height, width, channels), got {}", picture.shape());
  if (picture.dtype() != DType::u8)
    fail<DtypeError>(
        "write_png: needs u8, got {}; scale to 0 .. 255 and convert with to(DType::u8)",
        picture.dtype());
  write_png(path, picture.data<uint8_t>(), picture.size(0), picture.size(1),
            static_cast<int>(picture.size(2)));
}

}  // namespace loupe
