#include <loupe/core/raw.h>
#include <loupe/io/safetensors.h>

#include <cmath>
#include <fstream>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

std::vector<double> numbers(double scale = 1, double shift = 0) {
  std::vector<double> v;
  for (int i = 0; i < 24; ++i) v.push_back(scale * ((i * 37) % 101 - 50) / 8 + shift);
  return v;
}

std::string path(const char* file) {
  return io_fixture(std::string("safetensors/") + file + ".safetensors");
}

/// A file of this header, padded or not, and data.
std::string file_of(const std::string& json, const std::string& data = "") {
  const uint64_t n = json.size();
  return std::string(reinterpret_cast<const char*>(&n), 8) + json + data;
}

std::string load_error(const std::string& bytes) {
  return error_of([&] { load_safetensors(as_bytes(bytes), nullptr, "f"); });
}

}  // namespace

TEST_CASE("safetensors: the reference's file is read, and written back byte for byte") {
  const SafetensorsFile file = load_safetensors(path("written"));
  CHECK(file.metadata == Metadata{{"format", "pt"}});
  CHECK(file.tensors.size() == 9);
  CHECK(file.tensors.at("z.weight").shape() == Shape{2, 3, 4});
  CHECK(file.tensors.at("z.weight").dtype() == DType::f32);
  CHECK(file.tensors.at("z.weight").to_vector<double>() == numbers());
  CHECK(file.tensors.at("a.weight").dtype() == DType::f64);
  CHECK(file.tensors.at("a.weight").to_vector<double>() == numbers());
  CHECK(file.tensors.at("quote\"\\/\n\x01\u00e9\U0001F600").to_vector<double>() == numbers(8));
  CHECK(file.tensors.at("bytes").to_vector<double>() == numbers(8, 50));
  CHECK(file.tensors.at("flags").dtype() == DType::boolean);
  CHECK(file.tensors.at("scalar").dim() == 0);
  CHECK(file.tensors.at("scalar").item<int64_t>() == 5);
  CHECK(file.tensors.at("empty").shape() == Shape{0, 3});

  TempDir dir;
  save_safetensors(dir / "again", file.tensors, file.metadata);
  CHECK(read_file(dir / "again") == read_file(path("written")));
  CHECK(encode_safetensors(file.tensors, file.metadata) == read_file(path("written")));
  CHECK(encode_safetensors(load_safetensors(path("plain")).tensors) == read_file(path("plain")));
  CHECK(encode_safetensors({}) == read_file(path("nothing")));

  // Other strides are written in row-major order.
  const Tensor turned = raw::transpose(file.tensors.at("a.weight"), 0, 1);
  save_safetensors(dir / "turned", {{"t", turned}});
  CHECK(load_safetensors(dir / "turned").tensors.at("t").to_vector<double>() ==
        turned.to_vector<double>());
}

TEST_CASE("safetensors: a tensor is a view of the mapped file, outlives it and can be written to") {
  TempDir dir;
  save_safetensors(dir / "x", {{"a", tensor({1, 2, 3})}, {"b", tensor({4})}});
  Tensor a;
  {
    SafetensorsFile file = load_safetensors(dir / "x");
    a = file.tensors.at("a");
  }
  // Its memory lies in a mapping of this very file: "begin-end perms offset device inode path".
  std::ifstream maps("/proc/self/maps");
  bool mapped = false;
  for (std::string line; std::getline(maps, line);) {
    const auto begin = std::stoull(line, nullptr, 16),
               end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
    const auto at = reinterpret_cast<uintptr_t>(a.ptr<float>());
    mapped = mapped || (at >= begin && at < end && line.ends_with(dir / "x"));
  }
  CHECK(mapped);
  std::filesystem::remove(dir / "x");
  a.fill_(7);
  CHECK(a.to_vector<float>() == std::vector<float>{7, 7, 7});
}

TEST_CASE("safetensors: half, bfloat16 and i32 are converted") {
  const SafetensorsFile file = load_safetensors(path("narrow"));
  CHECK(file.tensors.at("f16").dtype() == DType::f32);
  CHECK(file.tensors.at("f16").to_vector<double>() == numbers());
  CHECK(file.tensors.at("bf16").to_vector<double>() == numbers());
  CHECK(file.tensors.at("i32").dtype() == DType::i64);
  CHECK(file.tensors.at("i32").to_vector<double>() == numbers(8));
  CHECK(read_safetensors_header(path("i16")).entries[0].dtype == "I16");

  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits >> 15 ? -1 : 1;
    const double want = exponent == 31 ? (fraction ? NAN : INFINITY)
                        : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                       : std::ldexp(fraction, -24);
    const float got = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(want) ? !std::isnan(got) : got != sign * want || std::signbit(got) != (sign < 0))
      FAIL(bits);
  }
  CHECK(bfloat16_to_float(0x3FC0) == 1.5f);
  CHECK(bfloat16_to_float(0xFF80) == -INFINITY);
}

TEST_CASE(
    "safetensors: other whole numbers and 8-bit floats are converted; the rest hides nothing") {
  const FileTensors t = load_safetensors(path("mixed")).tensors;
  for (const char* name : {"i8", "i16", "u16", "u32", "u64"}) {
    INFO(name);
    CHECK(t.at(name).dtype() == DType::i64);
    std::vector<double> want = numbers(8, name[0] == 'u' ? 50 : 0);
    CHECK(t.at(name).to_vector<double>() == want);
  }
  for (const std::string name : {"f8_e4m3", "f8_e5m2"}) {
    const auto got = t.at(name).to_vector<float>(),
               want = t.at(name + "_as_f32").to_vector<float>();
    REQUIRE(got.size() == 256);
    for (size_t i = 0; i < 256; ++i) {
      const bool same = std::isnan(want[i])
                            ? std::isnan(got[i])
                            : got[i] == want[i] && std::signbit(got[i]) == std::signbit(want[i]);
      if (!same) FAIL(name << " " << i << ": " << got[i] << ", expected " << want[i]);
    }
  }
  CHECK(t.at("weight").to_vector<double>() == numbers());
  const std::pair<const char*, const char*> unread[] = {
      {"c64", "tensor 'c64' has dtype C64; Loupe reads F32"},
      {"f8_e8m0", "has dtype F8_E8M0"},
      {"u64_big", "holds a U64 number above 2^63 - 1"},
      {"deep", "has 9 dimensions, at most 8"}};
  CHECK(t.unread.size() == std::size(unread));
  for (const auto& [name, why] : unread)
    CHECK_THAT(error_of([&, n = name] { t.at(n); }),
               Contains(why) && Contains("mixed.safetensors"));
  CHECK_THAT(error_of([&] { t.at("x"); }), Contains("holds no 'x'; it holds f8_e4m3, "));
}

TEST_CASE("safetensors: each kind of damage has its own sentence") {
  const std::string one = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                    eight(8, 'x');
  REQUIRE(load_error(file_of(one, eight)).empty());
  REQUIRE(load_error(file_of(one + "   ", eight)).empty());
  REQUIRE(
      load_error(
          file_of(
              R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]}})"))
          .empty());
  REQUIRE(load_error(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"note":[1]}})",
                             eight))
              .empty());
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}";
  };
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  const std::pair<std::string, std::string> cases[] = {
      {"", "offset 0: 0 bytes, too short"},
      {"1234567", "7 bytes, too short"},
      {file_of(one, eight).substr(0, 30),
       "offset 0: the header should have 54 bytes, but only 22 follow"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "at most 100000000 are allowed"},
      {from_bytes({1, 0xe1, 0xf5, 5, 0, 0, 0, 0}), "a safetensors header of 100000001 bytes"},
      {file_of(""), "offset 8: a safetensors header must start with '{'"},
      {file_of(" " + one, eight), "must start with '{'"},
      {file_of(one, eight.substr(1)),
       "truncated: the tensors take 8 bytes of data, the file has 7"},
      {file_of(one, eight + "y"), "offset 70: 1 bytes after the last tensor"},
      {file_of(one + "x", eight), "offset 62: text after the end of the JSON"},
      {file_of(two("[0,4]", "[5,9]"), "123456789"), "a hole of 1 bytes before tensor 'b'"},
      {file_of(two("[1,5]", "[5,9]"), "123456789"), "a hole of 1 bytes before tensor 'a'"},
      {file_of(two("[0,4]", "[3,7]"), "1234567"), "tensor 'b' overlaps tensor 'a'"},
      {file_of(two("[0,4]", "[0,4]"), "1234"), "tensor 'b' overlaps tensor 'a'"},
      {file_of(two("[4,0]", "[4,8]"), eight), "tensor 'a' begins at 4 but ends at 0"},
      {file_of(R"({"a":{},"a":{}})"), "tensor 'a' needs dtype, shape and two data_offsets"},
      {file_of(one.substr(0, one.size() - 1) + "," + one.substr(1), eight), "duplicate key \"a\""},
      {file_of(R"({"__metadata__":{"k":1}})"), "expected '\"', found '1'"},
      {file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "duplicate key \"k\""},
      {file_of(entry("F33", "[2]", "[0,8]"), eight), "tensor 'a' has the unknown dtype 'F33'"},
      {file_of(entry("F32", "[3]", "[0,8]"), eight),
       "takes 12 bytes by its shape and dtype F32, but its data_offsets span 8"},
      {file_of(entry("F32", "[-2]", "[0,8]"), eight), "shape of tensor 'a' holds -2"},
      {file_of(entry("F32", "[2]", "[-1,7]"), eight), "data_offsets of tensor 'a' holds -1"},
      {file_of(entry("F32", "[2]", "[0,8,8]"), eight), "two data_offsets"},
      {file_of(entry("F32", "[2.5]", "[0,8]"), eight), "expected a whole number"},
      {file_of(entry("F32", "[4611686018427387904,4]", "[0,0]")),
       "multiply to more than 2^62 bits"},
      {file_of(entry("F32", "[0,4611686018427387904,4]", "[0,0]")),
       "multiply to more than 2^62 bits"},
      {file_of(entry("F32", "[18446744073709551615]", "[0,8]"), eight), "does not fit 64 bits"},
      {file_of(entry("F4", "[3]", "[0,1]"), "x"), "does not fill whole bytes"},
      {file_of(entry("BOOL", "[8]", "[0,8]"), std::string(3, '\1') + "\2" + std::string(4, '\0')),
       "byte 2 in the BOOL tensor 'a'"},
      {file_of(entry("F32", "[2]", "[-0,8]"), eight), "expected a whole number, found -0"},
      {file_of("{\"a" + std::string("\xff") + "\":{}}"), "offset 11: invalid UTF-8"},
      {file_of("{\"a\":" + std::string(1000, '[')), "expected '{'"},
  };
  for (const auto& [bytes, reason] : cases) {
    INFO(bytes);
    CHECK_THAT(load_error(bytes), Contains(reason));
  }
  const std::string whole = read_file(path("written"));
  for (size_t n = 0; n < whole.size(); ++n)
    if (load_error(whole.substr(0, n)).empty()) FAIL("the first " << n << " bytes were read");
}

TEST_CASE("safetensors: what cannot be written is refused and leaves no file") {
  TempDir dir;
  const Tensor t = tensor({1});
  CHECK_THROWS_AS(save_safetensors(dir / "x", {{"__metadata__", t}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(dir / "x", {{"\xff", t}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(dir / "x", {{"a", t}}, {{"k", "\xff"}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(dir / "x", {{"a", Tensor()}}), ValueError);
  CHECK(std::filesystem::is_empty(dir.path));
}

TEST_CASE("safetensors: a tensor at an odd place of the file has its values") {
  const std::string json = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const float v[2] = {1.5f, -2};
  const std::string data(reinterpret_cast<const char*>(v), 8);
  for (size_t pad = 0; pad < 4; ++pad) {
    const std::string bytes = file_of(json + std::string(pad, ' '), data);
    const SafetensorsFile file = load_safetensors(as_bytes(bytes), nullptr, "f");
    CHECK(file.tensors.at("a").to_vector<float>() == std::vector<float>{1.5f, -2});
  }
}
