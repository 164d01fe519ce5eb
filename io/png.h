#pragma once
// PNG (ISO/IEC 15948), writing only: 8 bits a channel, no interlace.
#include <loupe/core/tensor.h>
#include <loupe/io/file.h>

#include <string>

namespace loupe {

/// The PNG file of an image: `pixels` is (height, width, channels) row-major with 1 (grey), 3 (RGB)
/// or 4 (RGBA) channels. ShapeError if the sizes are not positive or do not fit the data.
std::string encode_png(Bytes pixels, int64_t height, int64_t width, int channels);
void write_png(const std::string& path, Bytes pixels, int64_t height, int64_t width, int channels);
/// A picture, u8 (height, width, channels). DtypeError, ShapeError; IoError if the file fails.
void write_png(const std::string& path, const Tensor& picture);

}  // namespace loupe
