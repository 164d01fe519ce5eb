#include <loupe/io/cifar10.h>
#include <loupe/io/idx.h>
#include <loupe/io/inflate.h>
#include <loupe/io/png.h>

#include <zlib.h>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

std::string gzip(const std::string& s) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, s.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(s.data()));
  z.avail_in = static_cast<uInt>(s.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string idx_error(const std::string& bytes) {
  return error_of([&] { read_idx(as_bytes(bytes), "f"); });
}

const std::string kSmall = from_bytes({0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6});

}  // namespace

TEST_CASE("IDX, plain and gzip, every element type") {
  for (const std::string& file :
       {kSmall, gzip(kSmall), gzip(kSmall.substr(0, 9)) + gzip(kSmall.substr(9))}) {
    const IdxArray a = read_idx(as_bytes(file), "f");
    CHECK(a.type == IdxArray::u8);
    CHECK(a.shape == std::vector<int64_t>{2, 3});
    CHECK(a.data == std::vector<uint8_t>{1, 2, 3, 4, 5, 6});
  }
  const auto scalar = [](int type, std::initializer_list<int> be) {
    return read_idx(as_bytes(from_bytes({0, 0, type, 1, 0, 0, 0, 1}) + from_bytes(be)), "f").data;
  };
  const auto as = [](auto zero, const std::vector<uint8_t>& d) {
    REQUIRE(d.size() == sizeof zero);
    std::memcpy(&zero, d.data(), sizeof zero);
    return zero;
  };
  CHECK(as(int8_t{}, scalar(9, {0xfe})) == -2);
  CHECK(as(int16_t{}, scalar(0xb, {0xff, 0xfe})) == -2);
  CHECK(as(int32_t{}, scalar(0xc, {0, 1, 0, 2})) == 65538);
  CHECK(as(float{}, scalar(0xd, {0x3f, 0xc0, 0, 0})) == 1.5f);
  CHECK(as(double{}, scalar(0xe, {0xc0, 4, 0, 0, 0, 0, 0, 0})) == -2.5);
  CHECK(read_idx(as_bytes(from_bytes({0, 0, 8, 1, 0, 0, 0, 0})), "f").data.empty());
  TempDir dir;
  write_idx(dir / "a", {2, 3}, as_bytes("abcdef"));
  CHECK(read_idx(dir / "a").shape == std::vector<int64_t>{2, 3});
  CHECK_THROWS_AS(write_idx(dir / "a", {2, 2}, as_bytes("abcdef")), ShapeError);
}

TEST_CASE("IDX: every prefix and every lie is an IoError") {
  const std::string packed = gzip(kSmall);
  for (size_t n = 0; n < kSmall.size(); ++n)
    CHECK_THAT(idx_error(kSmall.substr(0, n)), Contains("f: offset "));
  for (size_t n = 0; n < packed.size(); ++n) CHECK_FALSE(idx_error(packed.substr(0, n)).empty());
  CHECK_THAT(idx_error("PK\3\4"), Contains("not an IDX file"));
  CHECK_THAT(idx_error(from_bytes({0, 0, 7, 1})), Contains("offset 2: IDX element type 0x07"));
  CHECK_THAT(idx_error(from_bytes({0, 0, 8, 0})), Contains("rank 0"));
  CHECK_THAT(idx_error(from_bytes({0, 0, 8, 9})), Contains("rank 9"));
  CHECK_THAT(idx_error(kSmall + "x"), Contains("offset 18: 1 bytes more than"));
  CHECK_THAT(idx_error(gzip(kSmall + "x")), Contains("more data than the header says"));
  CHECK_THAT(idx_error(packed + "x"), Contains("bytes after the end of the compressed data"));
  const std::string huge =
      from_bytes({0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1});
  CHECK_THAT(idx_error(huge), Contains("2^62"));
  const std::string large = from_bytes({0, 0, 8, 1, 255, 255, 255, 255, 1});  // claims 4 GB
  CHECK_THAT(idx_error(large), Contains("takes 4294967295 bytes but only 1 are left"));
  CHECK_THAT(idx_error(gzip(large)), Contains("compressed bytes cannot hold"));
  std::string corrupt = gzip(kSmall);
  corrupt[corrupt.size() - 8] =
      static_cast<char>(corrupt[corrupt.size() - 8] ^ 1);  // the stored CRC
  CHECK_THAT(idx_error(corrupt), Contains("corrupt compressed data"));
  // A bomb: 10 MB of zeros behind a header that claims 3 bytes.
  CHECK_THAT(idx_error(gzip(from_bytes({0, 0, 8, 1, 0, 0, 0, 3}) + std::string(10 << 20, '\0'))),
             Contains("more data"));
}

TEST_CASE("CIFAR-10 records") {
  std::string record(3073, '\0'), two;
  record[0] = 3;
  record[1] = 17;
  record[3072] = 99;
  two = record + record;
  two[3073] = 9;
  const Cifar10Batch b = read_cifar10(as_bytes(two), "f");
  CHECK(b.labels == std::vector<uint8_t>{3, 9});
  CHECK(b.pixels.size() == 2 * 3072);
  CHECK(b.pixels[0] == 17);
  CHECK(b.pixels[2 * 3072 - 1] == 99);
  two[3073] = 10;
  CHECK_THAT(error_of([&] { read_cifar10(as_bytes(two), "f"); }),
             Contains("offset 3073: label 10"));
  CHECK_THAT(error_of([&] { read_cifar10(as_bytes(two + "x"), "f"); }),
             Contains("no whole number"));
  CHECK_THAT(error_of([&] { read_cifar10(as_bytes(""), "f"); }), Contains("is empty"));
}

TEST_CASE("PNG decodes to the pixels that went in") {
  for (int channels : {1, 3, 4}) {
    const int64_t h = 5, w = 7;
    std::vector<uint8_t> pixels(static_cast<size_t>(h * w * channels));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37);
    const std::string png = encode_png(pixels, h, w, channels);
    // Signature, IHDR at 8, IDAT at 33; un-filter row by row.
    REQUIRE(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
    ByteReader r(as_bytes(png), "png", 8);
    REQUIRE(r.big32("size") == 13);
    r.take(17 + 4, "IHDR");
    const uint32_t n = r.big32("size");
    REQUIRE(as_text(r.take(4, "type")) == "IDAT");
    const Bytes packed = r.take(n, "data");
    CHECK(r.big32("crc") ==
          crc32(crc32(0, reinterpret_cast<const Bytef*>("IDAT"), 4), packed.data(), n));
    std::vector<uint8_t> lines(static_cast<size_t>(h * (w * channels + 1)));
    uLongf size = lines.size();
    REQUIRE(uncompress(lines.data(), &size, packed.data(), n) == Z_OK);
    REQUIRE(size == lines.size());
    std::vector<uint8_t> got;
    for (size_t y = 0, row = static_cast<size_t>(w * channels); y < static_cast<size_t>(h); ++y) {
      REQUIRE(lines[y * (row + 1)] == 1);
      for (size_t x = 0; x < row; ++x) {
        const uint8_t left = x < static_cast<size_t>(channels)
                                 ? uint8_t{0}
                                 : got[got.size() - static_cast<size_t>(channels)];
        got.push_back(static_cast<uint8_t>(lines[y * (row + 1) + 1 + x] + left));
      }
    }
    CHECK(got == pixels);
  }
  CHECK_THROWS_AS(encode_png(as_bytes("abc"), 1, 1, 2), ShapeError);
  CHECK_THROWS_AS(encode_png(as_bytes("abc"), 1, 2, 1), ShapeError);
  CHECK_THROWS_AS(encode_png({}, 0, 0, 1), ShapeError);
}
