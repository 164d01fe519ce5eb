#include <loupe/core/raw.h>
#include <loupe/io/npy.h>

#include <algorithm>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

/// The values make_io.py puts into every array.
std::vector<double> numbers(double scale = 1, double shift = 0) {
  std::vector<double> v;
  for (int i = 0; i < 24; ++i) v.push_back(scale * ((i * 37) % 101 - 50) / 8 + shift);
  return v;
}

Tensor npy(const std::string& file) { return load_npy(io_fixture("npy/" + file + ".npy")); }

std::string npy_error(const std::string& bytes) {
  return error_of([&] { load_npy(as_bytes(bytes), "f"); });
}

std::string with_header(const std::string& dict, const std::string& data = "") {
  return "\x93NUMPY" + from_bytes({1, 0, static_cast<int>(dict.size()), 0}) + dict + data;
}

}  // namespace

TEST_CASE(".npy: NumPy's files of every type") {
  for (const char* f : {"f2", "f4", "f8"}) {
    const Tensor t = npy(f);
    CHECK(t.dtype() == (f[1] == '8' ? DType::f64 : DType::f32));
    CHECK(t.shape() == Shape{2, 3, 4});
    CHECK(t.to_vector<double>() == numbers());
  }
  for (const char* f : {"i1", "i2", "i4", "i8"}) {
    CHECK(npy(f).dtype() == DType::i64);
    CHECK(npy(f).shape() == Shape{4, 6});
    CHECK(npy(f).to_vector<double>() == numbers(8));
  }
  for (const char* f : {"u1", "u2", "u4"}) {
    CHECK(npy(f).dtype() == (f[1] == '1' ? DType::u8 : DType::i64));
    CHECK(npy(f).to_vector<double>() == numbers(8, 50));
  }
  const Tensor flags = npy("b1");
  CHECK(flags.dtype() == DType::boolean);
  for (size_t i = 0; i < 24; ++i) CHECK(flags.data<bool>()[i] == (numbers()[i] > 0));
  CHECK(npy("big_endian").to_vector<double>() == numbers());
  CHECK(npy("fortran").shape() == Shape{2, 3, 4});
  CHECK(npy("fortran").to_vector<double>() == numbers());
  CHECK(npy("version2").to_vector<double>() == numbers());
  CHECK(npy("scalar").dim() == 0);
  CHECK(npy("scalar").item() == 1.5);
  CHECK(npy("empty").shape() == Shape{0, 3});
  CHECK_THAT(error_of([] { npy("complex"); }), Contains("arrays of type '<c8' cannot be read"));
  CHECK_THAT(error_of([] { npy("structured"); }), Contains("structured array"));
}

TEST_CASE(".npy: a header of Python 2's") {
  CHECK(npy("python2").shape() == Shape{3, 4});
  const std::vector<double> want = numbers();
  CHECK(npy("python2").to_vector<double>() == std::vector<double>(want.begin(), want.begin() + 12));
  const auto header_error = [](const std::string& shape) {
    return npy_error(
        with_header("{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }", "ab"));
  };
  CHECK(header_error("(2L,)").empty());
  CHECK(header_error("(1, 2L)").empty());
  CHECK_THAT(header_error("(L,)"), Contains("expected a size"));
  CHECK_THAT(header_error("(2LL,)"), Contains("expected ','"));
  CHECK_THAT(header_error("(2l,)"), Contains("expected ','"));
}

TEST_CASE(".npz: arrays without a type here hide nothing, and say why when they are asked for") {
  const FileTensors arrays = load_npz(io_fixture("npy/mixed.npz"));
  CHECK(arrays.size() == 2);
  CHECK(arrays.at("a").to_vector<double>() == numbers());
  CHECK(arrays.at("many").to_vector<int64_t>() == std::vector<int64_t>{0, 1, 2});
  const std::pair<const char*, const char*> unread[] = {
      {"labels", "arrays of type '<U5' cannot be read"},
      {"objects", "arrays of type '|O' cannot be read"},
      {"wave", "arrays of type '<c16' cannot be read"},
      {"when", "arrays of type '<M8[s]' cannot be read"},
      {"record", "a structured array"},
      {"deep", "more than 8 dimensions"},
      {"big", "the u8 number 9223372036854775808, above 2^63 - 1"}};
  CHECK(arrays.unread.size() == std::size(unread));
  for (const auto& [name, why] : unread) {
    INFO(name);
    CHECK_THAT(error_of([&, n = name] { arrays.at(n); }),
               Contains("mixed.npz(" + std::string(name) + ".npy)") && Contains(why));
  }
  CHECK_THAT(error_of([&] { arrays.at("b"); }),
             Contains("mixed.npz: holds no 'b'; it holds a, many"));
  // Damage is an error still, whatever the type.
  const std::string whole = read_file(io_fixture("npy/mixed.npz"));
  const size_t text = whole.find("<U5");
  REQUIRE(text != std::string::npos);
  std::string flipped = whole;
  flipped[text + 1] = static_cast<char>(flipped[text + 1] ^ 1);
  CHECK_THAT(error_of([&] { load_npz(as_bytes(flipped), "f"); }), Contains("f("));
}

TEST_CASE(".npy and .npz are written as NumPy writes them") {
  TempDir dir;
  for (const char* f : {"f4", "f8", "i8", "u1", "b1", "scalar", "empty"}) {
    save_npy(dir / "x.npy", npy(f));
    CHECK(read_file(dir / "x.npy") == read_file(io_fixture(std::string("npy/") + f + ".npy")));
  }
  const Tensor t = npy("f4");
  save_npy(dir / "x.npy", raw::permute(t, {2, 0, 1}));
  CHECK(load_npy(dir / "x.npy").to_vector<float>() ==
        raw::permute(t, {2, 0, 1}).to_vector<float>());

  for (const char* f : {"stored", "deflated"}) {
    auto arrays = load_npz(io_fixture(std::string("npy/") + f + ".npz"));
    CHECK(arrays.size() == 3);
    CHECK(arrays.at("a").shape() == Shape{4, 6});
    CHECK(arrays.at("a").to_vector<double>() == numbers());
    CHECK(arrays.at("b/c").to_vector<double>() == numbers(8));
    CHECK(arrays.at("\u00e9").dtype() == DType::boolean);
    save_npz(dir / "x.npz", arrays);
    const auto again = load_npz(dir / "x.npz");
    CHECK(again.size() == 3);
    for (const auto& [name, array] : arrays)
      CHECK(again.at(name).to_vector<double>() == array.to_vector<double>());
  }
  save_npz(dir / "x.npz", {});
  CHECK(load_npz(dir / "x.npz").empty());
  CHECK_THROWS_AS(save_npz(dir / "x.npz", {{"", t}}), ValueError);
  CHECK_THROWS_AS(save_npz(dir / "x.npz", {{"\xff", t}}), ValueError);
}

TEST_CASE(".npy: every prefix and every lie is an IoError") {
  const std::string whole = read_file(io_fixture("npy/f4.npy"));
  for (size_t n = 0; n < whole.size(); ++n) CHECK_FALSE(npy_error(whole.substr(0, n)).empty());
  CHECK_THAT(npy_error(whole + "x"), Contains("offset 224: 1 bytes after the array"));
  const std::string ok = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n";
  CHECK(npy_error(with_header(ok, "ab")).empty());
  const std::string length{static_cast<char>(ok.size()), 0, 0, 0};
  const std::string third = std::string("\x93NUMPY\x03\0", 8) + length + ok + "ab";
  CHECK(load_npy(as_bytes(third), "f").to_vector<uint8_t>() == std::vector<uint8_t>{'a', 'b'});
  const auto header_error = [](const std::string& dict) {
    return npy_error(with_header(dict, "ab"));
  };
  const std::pair<std::string, std::string> cases[] = {
      {"", "the .npy header ends too early"},
      {"{'descr': '|u1', 'fortran_order': False}", "needs descr, fortran_order and shape"},
      {"{'descr': '|u1', 'descr': '|u1'}", "the key 'descr' twice"},
      {"{'x': 1}", "the key 'x'"},
      {"{'descr': '|u1', 'fortran_order': Maybe", "expected True or False"},
      {"{'descr': 3", "expected a string"},
      {"{'descr': '|u1", "does not end"},
      {"{'shape': (-1,)", "expected a size"},
      {"{'shape': (02,)", "expected a size"},
      {"{'shape': (99999999999999999999,)", "expected a size"},
      {"{'shape': (1,1,1,1,1,1,1,1,1)", "more than 8 dimensions"},
      {"{'shape': [2]", "expected '('"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), } x", "text after the dict"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "type '|O' cannot be read"},
      {"{'descr': '|f4', 'fortran_order': False, 'shape': (2,), }", "type '|f4' cannot be read"},
      {"{'descr': '', 'fortran_order': False, 'shape': (2,), }", "type '' cannot be read"},
      {"{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }",
       "byte 97 in an array of booleans"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 8), }",
       "multiply to more than 2^60"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4611686018427387904, 8), }",
       "multiply to more than 2^60"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }",
       "takes 1000000000000 bytes but only 2"},
  };
  for (const auto& [dict, reason] : cases) {
    INFO(dict);
    CHECK_THAT(header_error(dict), Contains(reason));
  }
  std::string version = with_header(ok, "ab");
  version[6] = 4;
  CHECK_THAT(npy_error(version), Contains("version 4.0 is unknown"));
}

TEST_CASE(".npz: damaged files are IoErrors") {
  for (const char* f : {"stored", "deflated"}) {
    const std::string whole = read_file(io_fixture(std::string("npy/") + f + ".npz"));
    const auto error = [](const std::string& s) {
      return error_of([&] { load_npz(as_bytes(s), "f"); });
    };
    for (size_t n = 0; n < whole.size(); ++n) {
      if (error(whole.substr(0, n)).empty()) FAIL("the first " << n << " bytes were read");
    }
    // A flipped bit is an error or harmless (a time, an attribute, a name): it never changes a
    // value.
    std::vector<std::vector<double>> values;
    for (const auto& [name, array] : load_npz(as_bytes(whole), "f"))
      values.push_back(array.to_vector<double>());
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ 0x40);
      std::map<std::string, Tensor> arrays;
      if (!error_of([&] { arrays = load_npz(as_bytes(flipped), "f"); }).empty()) continue;
      for (const auto& [name, array] : arrays)
        if (std::find(values.begin(), values.end(), array.to_vector<double>()) == values.end())
          FAIL("byte " << i);
    }
    std::string data = whole;
    data[60] = static_cast<char>(data[60] ^ 1);
    CHECK_THAT(error(data), Contains("f(a.npy): "));
  }
  CHECK_THAT(error_of([] { load_npz(as_bytes(std::string(100, 'x')), "f"); }),
             Contains("no zip directory"));
}

TEST_CASE(".npz: a file that is no array hides nothing") {
  TempDir dir;
  save_npz(dir / "x.npz", {{"a", npy("f4")}, {"b", npy("i8")}});
  std::string bytes = read_file(dir / "x.npz");
  for (size_t at; (at = bytes.find("a.npy")) != std::string::npos;) bytes.replace(at, 5, "a.txt");
  const FileTensors t = load_npz(as_bytes(bytes), "f");
  CHECK(t.size() == 1);
  CHECK_THAT(error_of([&] { t.at("a.txt"); }), Contains("is no .npy file"));
}
