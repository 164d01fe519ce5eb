#include <loupe/core/raw.h>
#include <loupe/io/json.h>
#include <loupe/io/safetensors.h>
#include <loupe/io/utf8.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

namespace loupe {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

/// Bits of one element by dtype word; 0 for an unknown word.
unsigned bits_of(std::string_view dtype) {
  struct Word {
    std::string_view word;
    unsigned bits;
  };
  static constexpr Word kWords[] = {
      {"F32", 32},    {"F64", 64},    {"F16", 16},        {"BF16", 16},       {"I64", 64},
      {"I32", 32},    {"U8", 8},      {"BOOL", 8},        {"I8", 8},          {"I16", 16},
      {"U16", 16},    {"U32", 32},    {"U64", 64},        {"C64", 64},        {"F8_E5M2", 8},
      {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6},
      {"F6_E3M2", 6}, {"F4", 4}};
  for (const auto& [word, bits] : kWords)
    if (word == dtype) return bits;
  return 0;
}

/// In the order in which the reference implementation sorts them, wide types first.
constexpr DType kOrder[] = {DType::i64, DType::f64, DType::f32, DType::u8, DType::boolean};

const char* word_of(DType dtype) {
  constexpr const char* kWord[] = {"F32", "F64", "I64", "U8", "BOOL"};
  return kWord[static_cast<size_t>(dtype)];
}

SafetensorsEntry read_entry(JsonReader& r, const std::string& name) {
  SafetensorsEntry e;
  e.name = name;
  bool has_dtype = false, has_shape = false;
  std::vector<int64_t> offsets;
  const auto counts = [&](std::vector<int64_t>& to, const char* what) {
    r.array([&] {
      const int64_t n = r.integer();
      if (n < 0) r.fail(fmt::format("{} of tensor '{}' holds {}", what, name, n));
      to.push_back(n);
    });
  };
  r.object([&](const std::string& key) {
    if (key == "dtype") has_dtype = true, e.dtype = r.string();
    else if (key == "shape") has_shape = true, counts(e.shape, "shape");
    else if (key == "data_offsets") counts(offsets, "data_offsets");
    else r.skip();
  });
  if (!has_dtype || !has_shape || offsets.size() != 2)
    r.fail(fmt::format("tensor '{}' needs dtype, shape and two data_offsets", name));
  e.begin = static_cast<uint64_t>(offsets[0]), e.end = static_cast<uint64_t>(offsets[1]);
  const unsigned bits = bits_of(e.dtype);
  if (bits == 0) r.fail(fmt::format("tensor '{}' has the unknown dtype '{}'", name, e.dtype));
  if (e.begin > e.end)
    r.fail(fmt::format("tensor '{}' begins at {} but ends at {}", name, e.begin, e.end));
  // Counted without the zeros too, so that strides cannot overflow in an empty tensor.
  uint64_t size = bits;
  bool empty = false;
  for (const int64_t n : e.shape) {
    empty = empty || n == 0;
    if (n > 0 &&
        (__builtin_mul_overflow(size, static_cast<uint64_t>(n), &size) || size > uint64_t{1} << 62))
      r.fail(fmt::format("the sizes of tensor '{}' multiply to more than 2^62 bits", name));
  }
  if (empty) size = 0;
  if (size % 8 != 0) r.fail(fmt::format("tensor '{}' does not fill whole bytes", name));
  if (e.end - e.begin != size / 8)
    r.fail(fmt::format(
        "tensor '{}' takes {} bytes by its shape and dtype {}, but its data_offsets span {}", name,
        size / 8, e.dtype, e.end - e.begin));
  return e;
}

}  // namespace

SafetensorsHeader read_safetensors_header(Bytes bytes, const std::string& name) {
  if (bytes.size() < 8)
    fail<IoError>("{}: offset 0: {} bytes, too short for a safetensors file", name, bytes.size());
  ByteReader start(bytes, name);
  const auto size = start.little<uint64_t>("the header size");
  if (size > kMaxHeader)
    fail<IoError>("{}: offset 0: a safetensors header of {} bytes, at most {} are allowed", name,
                  size, kMaxHeader);
  if (size > bytes.size() - 8)
    fail<IoError>("{}: offset 0: the header should have {} bytes, but only {} follow", name, size,
                  bytes.size() - 8);
  const std::string_view json = as_text(start.take(size, "the header"));
  if (!json.starts_with('{'))
    fail<IoError>("{}: offset 8: a safetensors header must start with '{{'", name);

  SafetensorsHeader header;
  header.data_offset = 8 + size;
  JsonReader r(json, name, 8);
  r.object([&](const std::string& key) {
    if (key == "__metadata__")
      r.object([&](const std::string& k) { header.metadata[k] = r.string(); });
    else header.entries.push_back(read_entry(r, key));
  });
  r.end();

  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t reached = 0;
  const std::string* before = nullptr;
  for (const SafetensorsEntry& e : header.entries) {
    if (e.begin > reached)
      fail<IoError>("{}: offset {}: a hole of {} bytes before tensor '{}'", name,
                    header.data_offset + reached, e.begin - reached, e.name);
    if (e.begin < reached)
      fail<IoError>("{}: offset {}: tensor '{}' overlaps tensor '{}'", name,
                    header.data_offset + e.begin, e.name, *before);
    reached = e.end;
    before = &e.name;
  }
  const uint64_t data = bytes.size() - header.data_offset;
  if (reached > data)
    fail<IoError>("{}: truncated: the tensors take {} bytes of data, the file has {}", name,
                  reached, data);
  if (reached < data)
    fail<IoError>("{}: offset {}: {} bytes after the last tensor", name,
                  header.data_offset + reached, data - reached);
  return header;
}

SafetensorsHeader read_safetensors_header(const std::string& path) {
  return read_safetensors_header(MappedFile(path).bytes(), path);
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = uint32_t{bits} >> 15 << 31, exponent = bits >> 10 & 31,
                 fraction = bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | fraction << 13);
  if (exponent == 0)
    return std::copysign(static_cast<float>(fraction) * 0x1p-24f, std::bit_cast<float>(sign));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

float float8_e4m3_to_float(uint8_t bits) {
  const float sign = bits >> 7 ? -1.0f : 1.0f;
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  if (exponent == 15 && fraction == 7) return std::copysign(std::nanf(""), sign);
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -9);
  return sign * std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
}

namespace {

/// A tensor of To from unaligned elements of From.
template <class To, class From, class F>
Tensor converted(const uint8_t* from, const Shape& shape, F convert) {
  Tensor t = raw::empty(shape, dtype_of<To>());
  To* to = t.ptr<To>();
  const int64_t n = t.numel();
  for (int64_t i = 0; i < n; ++i) {
    From v;
    std::memcpy(&v, from + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    to[i] = convert(v);
  }
  return t;
}

template <class From> int64_t to_i64(From v) { return static_cast<int64_t>(v); }

/// The words of dtypes whose elements are converted, and how.
Tensor read_converted(std::string_view dtype, const uint8_t* data, const Shape& shape) {
  if (dtype == "F16") return converted<float, uint16_t>(data, shape, half_to_float);
  if (dtype == "BF16") return converted<float, uint16_t>(data, shape, bfloat16_to_float);
  if (dtype == "F8_E4M3") return converted<float, uint8_t>(data, shape, float8_e4m3_to_float);
  if (dtype == "F8_E5M2")  // the upper half of a half
    return converted<float, uint8_t>(
        data, shape, [](uint8_t v) { return half_to_float(static_cast<uint16_t>(v << 8)); });
  if (dtype == "I8") return converted<int64_t, int8_t>(data, shape, to_i64<int8_t>);
  if (dtype == "I16") return converted<int64_t, int16_t>(data, shape, to_i64<int16_t>);
  if (dtype == "I32") return converted<int64_t, int32_t>(data, shape, to_i64<int32_t>);
  if (dtype == "U16") return converted<int64_t, uint16_t>(data, shape, to_i64<uint16_t>);
  if (dtype == "U32") return converted<int64_t, uint32_t>(data, shape, to_i64<uint32_t>);
  if (dtype == "U64") return converted<int64_t, uint64_t>(data, shape, to_i64<uint64_t>);
  return {};
}

/// The tensor of an entry; undefined, with the reason in `why`, if Loupe has no place for it.
Tensor read_tensor(const SafetensorsEntry& e, Bytes bytes, uint64_t data_offset,
                   const std::shared_ptr<const void>& owner, const std::string& name,
                   std::string& why) {
  const Shape shape(e.shape);
  const uint8_t* data = bytes.data() + data_offset + e.begin;
  const auto as = [&](DType dtype) {
    if (reinterpret_cast<uintptr_t>(data) % size_of(dtype) !=
        0) {  // only in files of other writers
      Tensor t = raw::empty(shape, dtype);
      std::memcpy(t.storage()->data(), data, e.end - e.begin);
      return t;
    }
    auto storage = std::make_shared<Storage>(const_cast<uint8_t*>(data), e.end - e.begin, owner);
    return Tensor(std::move(storage), shape, row_major_strides(shape), 0, dtype);
  };
  if (e.dtype == "F32") return as(DType::f32);
  if (e.dtype == "F64") return as(DType::f64);
  if (e.dtype == "I64") return as(DType::i64);
  if (e.dtype == "U8") return as(DType::u8);
  if (e.dtype == "BOOL") {
    const Bytes flags(data, e.end - e.begin);
    if (const auto bad = std::find_if(flags.begin(), flags.end(), [](uint8_t b) { return b > 1; });
        bad != flags.end())
      fail<IoError>("{}: offset {}: byte {} in the BOOL tensor '{}', expected 0 or 1", name,
                    data_offset + e.begin + static_cast<uint64_t>(bad - flags.begin()), *bad,
                    e.name);
    return as(DType::boolean);
  }
  Tensor t = read_converted(e.dtype, data, shape);
  if (!t.defined()) {
    why = fmt::format(
        "has dtype {}; Loupe reads F32, F64, F16, BF16, F8_E4M3, F8_E5M2, I8, I16, I32, I64, U8, "
        "U16, U32, U64 and BOOL",
        e.dtype);
  } else if (e.dtype == "U64") {
    const auto values = t.data<int64_t>();
    if (std::any_of(values.begin(), values.end(), [](int64_t v) { return v < 0; })) {
      why = "holds a U64 number above 2^63 - 1, which i64 cannot hold";
      return {};
    }
  }
  return t;
}

}  // namespace

SafetensorsFile load_safetensors(Bytes bytes, std::shared_ptr<const void> owner,
                                 const std::string& name) {
  SafetensorsHeader header = read_safetensors_header(bytes, name);
  if (!owner)
    owner = std::shared_ptr<const void>(
        std::shared_ptr<const void>(), bytes.data());  // a Storage without owner is the allocator's
  SafetensorsFile file;
  file.metadata = std::move(header.metadata);
  file.tensors.file = name;
  for (const SafetensorsEntry& e : header.entries) {
    std::string why;
    Tensor t;
    if (e.shape.size() > kMaxRank)
      why = fmt::format("has {} dimensions, at most {} are supported", e.shape.size(), kMaxRank);
    else t = read_tensor(e, bytes, header.data_offset, owner, name, why);
    if (t.defined()) file.tensors.emplace(e.name, std::move(t));
    else file.tensors.unread.emplace(e.name, fmt::format("{}: tensor '{}' {}", name, e.name, why));
  }
  return file;
}

StateDict to_state_dict(const TensorMap& tensors) {
  StateDict state;
  for (const auto& [name, t] : tensors) state.push_back({name, t});
  return state;
}

SafetensorsFile load_safetensors(const std::string& path) {
  const auto map = std::make_shared<MappedFile>(path);
  return load_safetensors(map->bytes(), map, path);
}

namespace {

/// Hands the file's bytes to write(data, size) piece by piece.
template <class Write> void emit(const TensorMap& tensors, const Metadata& metadata, Write write) {
  const auto check = [](const std::string& s, const char* what) {
    if (find_invalid_utf8(s) != std::string::npos)
      fail<ValueError>("save_safetensors: a {} is not valid UTF-8", what);
  };
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      check(key, "metadata key"), check(value, "metadata value");
      json += (json.ends_with('{') ? "" : ",") + json_quote(key) + ":" + json_quote(value);
    }
    json += "},";
  }
  std::vector<Tensor> ordered;
  size_t at = 0;
  for (const DType dtype : kOrder)
    for (const auto& [name, tensor] : tensors) {
      if (!tensor.defined()) fail<ValueError>("save_safetensors: tensor '{}' is undefined", name);
      if (tensor.dtype() != dtype) continue;
      check(name, "tensor name");
      if (name == "__metadata__")
        fail<ValueError>("save_safetensors: a tensor cannot be named __metadata__");
      const size_t size = static_cast<size_t>(tensor.numel()) * size_of(dtype);
      json +=
          fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}},",
                      json_quote(name), word_of(dtype),
                      fmt::join(tensor.shape().begin(), tensor.shape().end(), ","), at, at + size);
      at += size;
      ordered.push_back(tensor);
    }
  if (json.ends_with(',')) json.pop_back();
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxHeader)
    fail<ValueError>("save_safetensors: a header of {} bytes, at most {} are allowed", json.size(),
                     kMaxHeader);
  const uint64_t size = json.size();
  write(&size, sizeof size);
  write(json.data(), json.size());
  for (const Tensor& t : ordered)
    dispatch(t.dtype(), [&]<class T>(Type<T>) {
      const Tensor dense = raw::row_major(t);
      write(dense.ptr<T>(), static_cast<size_t>(dense.numel()) * sizeof(T));
    });
}

}  // namespace

void save_safetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata) {
  AtomicFile file(path);
  emit(tensors, metadata, [&](const void* data, size_t size) { file.write(data, size); });
  file.commit();
}

std::string encode_safetensors(const TensorMap& tensors, const Metadata& metadata) {
  std::string out;
  emit(tensors, metadata,
       [&](const void* data, size_t size) { out.append(static_cast<const char*>(data), size); });
  return out;
}

}  // namespace loupe
