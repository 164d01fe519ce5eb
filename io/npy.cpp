#include <loupe/core/raw.h>
#include <loupe/io/inflate.h>
#include <loupe/io/npy.h>
#include <loupe/io/safetensors.h>
#include <loupe/io/utf8.h>

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

namespace loupe {
namespace {

/// A whole file whose contents Loupe has no place for: no damage, and no reason to refuse what
/// stands beside it.
struct Unsupported : IoError {
  using IoError::IoError;
};

/// The header of a .npy file: a Python dict literal with exactly three keys.
class DictReader {
 public:
  DictReader(std::string_view text, const std::string& name, size_t base)
      : text_(text), name_(name), base_(base) {}

  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;

  void read() {
    bool seen[3] = {};
    expect('{');
    while (peek() != '}') {
      const std::string key = string();
      expect(':');
      const int which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
      if (which == 3) fail(fmt::format("the key '{}' in a .npy header", key));
      if (std::exchange(seen[which], true))
        fail(fmt::format("the key '{}' twice in a .npy header", key));
      if (which == 0) descr = descr_value();
      else if (which == 1) fortran = boolean();
      else tuple();
      if (peek() != '}') expect(',');
    }
    expect('}');
    space();
    if (at_ != text_.size()) fail("text after the dict of a .npy header");
    if (!seen[0] || !seen[1] || !seen[2])
      fail("a .npy header needs descr, fortran_order and shape");
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    loupe::fail<IoError>("{}: offset {}: {}", name_, base_ + at_, reason);
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    space();
    if (at_ == text_.size()) fail("the .npy header ends too early");
    return text_[at_];
  }
  void expect(char c) {
    if (peek() != c) fail(fmt::format("expected '{}' in a .npy header", c));
    ++at_;
  }
  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail("expected a string in a .npy header");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) fail("a string that does not end in a .npy header");
    const std::string s(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return s;
  }
  std::string descr_value() {
    if (peek() == '[')
      loupe::fail<Unsupported>("{}: offset {}: a structured array; only plain numbers can be read",
                               name_, base_ + at_);
    return string();
  }
  bool boolean() {
    peek();
    for (const auto& [word, value] :
         {std::pair<std::string_view, bool>{"True", true}, {"False", false}})
      if (text_.substr(at_, word.size()) == word) return at_ += word.size(), value;
    fail("expected True or False in a .npy header");
  }
  void tuple() {
    expect('(');
    while (peek() != ')') {
      int64_t n = 0;
      const char* first = text_.data() + at_;
      const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), n);
      if (error != std::errc() || n < 0 || (*first == '0' && end > first + 1))
        fail("expected a size in a .npy header");
      at_ += static_cast<size_t>(end - first);
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2's long integers: (3L, 4L)
      if (shape.size() == kMaxRank)
        loupe::fail<Unsupported>("{}: offset {}: more than {} dimensions", name_, base_ + at_,
                                 kMaxRank);
      shape.push_back(n);
      if (peek() != ')') expect(',');
    }
    expect(')');
  }

  std::string_view text_;
  const std::string& name_;
  size_t base_, at_ = 0;
};

/// Reads n elements of From in either byte order into To.
template <class To, class From, class F>
void convert(const uint8_t* from, bool swap, To* to, int64_t n, F f) {
  for (int64_t i = 0; i < n; ++i) {
    uint8_t raw[sizeof(From)];
    std::memcpy(raw, from + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    if (swap) std::reverse(raw, raw + sizeof(From));
    From v;
    std::memcpy(&v, raw, sizeof(From));
    to[i] = f(v);
  }
}

struct NumpyType {
  const char* code;
  size_t size;
  DType dtype;
};
constexpr NumpyType kTypes[] = {
    {"f4", 4, DType::f32}, {"f8", 8, DType::f64}, {"f2", 2, DType::f32},     {"i8", 8, DType::i64},
    {"i4", 4, DType::i64}, {"i2", 2, DType::i64}, {"i1", 1, DType::i64},     {"u4", 4, DType::i64},
    {"u2", 2, DType::i64}, {"u1", 1, DType::u8},  {"b1", 1, DType::boolean}, {"u8", 8, DType::i64}};

void fill_from(const Tensor& t, std::string_view code, const uint8_t* data, bool swap,
               const std::string& name, size_t offset) {
  const int64_t n = t.numel();
  const auto same = [](auto v) { return v; };
  const auto wide = [](auto v) { return static_cast<int64_t>(v); };
  if (code == "f4") convert<float, float>(data, swap, t.ptr<float>(), n, same);
  else if (code == "f8") convert<double, double>(data, swap, t.ptr<double>(), n, same);
  else if (code == "f2") convert<float, uint16_t>(data, swap, t.ptr<float>(), n, half_to_float);
  else if (code == "i8") convert<int64_t, int64_t>(data, swap, t.ptr<int64_t>(), n, same);
  else if (code == "i4") convert<int64_t, int32_t>(data, swap, t.ptr<int64_t>(), n, wide);
  else if (code == "i2") convert<int64_t, int16_t>(data, swap, t.ptr<int64_t>(), n, wide);
  else if (code == "i1") convert<int64_t, int8_t>(data, swap, t.ptr<int64_t>(), n, wide);
  else if (code == "u4") convert<int64_t, uint32_t>(data, swap, t.ptr<int64_t>(), n, wide);
  else if (code == "u2") convert<int64_t, uint16_t>(data, swap, t.ptr<int64_t>(), n, wide);
  else if (code == "u8")
    convert<int64_t, uint64_t>(data, swap, t.ptr<int64_t>(), n, [&](uint64_t v) {
      if (v > uint64_t{INT64_MAX})
        fail<Unsupported>("{}: holds the u8 number {}, above 2^63 - 1", name, v);
      return static_cast<int64_t>(v);
    });
  else if (code == "u1") std::memcpy(t.ptr<uint8_t>(), data, static_cast<size_t>(n));
  else
    for (int64_t i = 0; i < n; ++i) {
      if (data[i] > 1)
        fail<IoError>("{}: offset {}: byte {} in an array of booleans", name,
                      offset + static_cast<size_t>(i), data[i]);
      t.ptr<bool>()[i] = data[i] != 0;
    }
}

}  // namespace

Tensor load_npy(Bytes bytes, const std::string& name) {
  ByteReader r(bytes, name);
  if (bytes.size() < 8 || as_text(bytes.first(6)) != "\x93NUMPY")
    fail<IoError>("{}: offset 0: not a .npy file", name);
  const int major = bytes[6], minor = bytes[7];
  if (major < 1 || major > 3 || minor != 0)
    fail<IoError>("{}: offset 6: .npy version {}.{} is unknown", name, major, minor);
  r.take(8, "the .npy magic");
  const uint64_t header_size =
      major == 1 ? r.little<uint16_t>("the header size") : r.little<uint32_t>("the header size");
  const size_t header_at = r.at();
  DictReader header(as_text(r.take(header_size, "the .npy header")), name, header_at);
  header.read();

  const std::string& descr = header.descr;
  const NumpyType* type = nullptr;
  for (const NumpyType& known : kTypes)
    if (descr.size() == 3 && descr.substr(1) == known.code) type = &known;
  const char order = descr.empty() ? '?' : descr[0];
  const bool native = order == '<' || order == '=';
  if (!type || (!native && order != '>' && !(order == '|' && type->size == 1)))
    fail<Unsupported>(
        "{}: offset {}: arrays of type '{}' cannot be read; f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1 "
        "can",
        name, header_at, descr);
  uint64_t size = type->size;
  bool empty = false;
  for (const int64_t n : header.shape) {
    empty = empty || n == 0;
    if (n > 0 &&
        (__builtin_mul_overflow(size, static_cast<uint64_t>(n), &size) || size > uint64_t{1} << 60))
      fail<IoError>("{}: offset {}: the sizes of the array multiply to more than 2^60 bytes", name,
                    header_at);
  }
  if (empty) size = 0;
  const size_t data_at = r.at();
  const Bytes data = r.take(size, "the array");
  if (r.left() > 0) r.fail("{} bytes after the array", r.left());

  Shape shape(header.shape);
  if (header.fortran) std::reverse(shape.begin(), shape.end());
  Tensor t = raw::empty(shape, type->dtype);
  fill_from(t, type->code, data.data(), order == '>', name, data_at);
  if (!header.fortran) return t;
  Dims axes;
  for (int i = shape.rank() - 1; i >= 0; --i) axes.push_back(i);
  return raw::row_major(raw::permute(t, axes));
}

Tensor load_npy(const std::string& path) { return load_npy(MappedFile(path).bytes(), path); }

namespace {

std::string encode_npy(const Tensor& t) {
  constexpr const char* kDescr[] = {"<f4", "<f8", "<i8", "|u1", "|b1"};
  const Shape& shape = t.shape();
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                 kDescr[static_cast<size_t>(t.dtype())], to_string(shape));
  // NumPy leaves room for the first size to grow to 21 digits in place, then pads to a multiple
  // of 64.
  if (!shape.empty()) dict.append(21 - fmt::format("{}", shape[0]).size(), ' ');
  dict.append(64 - (11 + dict.size()) % 64, ' ');
  dict += '\n';
  std::string out = "\x93NUMPY";
  out += {1, 0, static_cast<char>(dict.size() & 255), static_cast<char>(dict.size() >> 8)};
  out += dict;
  const Tensor dense = raw::row_major(t);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    out.append(reinterpret_cast<const char*>(dense.ptr<T>()),
               static_cast<size_t>(dense.numel()) * sizeof(T));
  });
  return out;
}

}  // namespace

void save_npy(const std::string& path, const Tensor& t) { write_file(path, encode_npy(t)); }

// ---- .npz: PKWARE's APPNOTE.TXT, as far as Python's zipfile goes
// -----------------------------------------------------

namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;

uint32_t crc_of(Bytes b) { return static_cast<uint32_t>(crc32_z(0, b.data(), b.size())); }

struct ZipEntry {
  std::string name;
  uint16_t method = 0;
  uint32_t crc = 0;
  uint64_t packed = 0, size = 0, local = 0;
};

struct ZipDirectory {
  uint64_t entries, size, offset;
};

ZipDirectory find_directory(Bytes bytes, const std::string& name) {
  constexpr size_t kEndSize = 22;
  if (bytes.size() < kEndSize)
    fail<IoError>("{}: {} bytes, too short for a .npz (zip) file", name, bytes.size());
  // The end record may be followed by a comment of up to 65535 bytes.
  size_t at = bytes.size() - kEndSize;
  const size_t lowest = at > 65535 ? at - 65535 : 0;
  for (;; --at) {
    ByteReader r(bytes, name, at);
    if (r.little<uint32_t>("a zip signature") == kEnd) break;
    if (at == lowest) fail<IoError>("{}: not a .npz file: it has no zip directory", name);
  }
  ByteReader r(bytes, name, at + 4);
  const auto disk = r.little<uint16_t>("the disk number"),
             first_disk = r.little<uint16_t>("the disk number");
  r.take(2, "the entry count");
  ZipDirectory d{r.little<uint16_t>("the entry count"), r.little<uint32_t>("the directory size"),
                 r.little<uint32_t>("the directory offset")};
  if (disk != 0 || first_disk != 0)
    fail<IoError>("{}: offset {}: a zip file in several parts", name, at);
  if ((d.entries == 0xFFFF || d.size == 0xFFFFFFFF || d.offset == 0xFFFFFFFF) && at >= 20) {
    ByteReader locator(bytes, name, at - 20);
    if (locator.little<uint32_t>("a zip signature") == kLocator64) {
      locator.take(4, "the disk number");
      const auto where = locator.little<uint64_t>("the zip64 offset");
      if (where > bytes.size())
        fail<IoError>("{}: offset {}: the zip64 record lies outside the file", name, at - 12);
      ByteReader r64(bytes, name, static_cast<size_t>(where));
      if (r64.little<uint32_t>("a zip64 record") != kEnd64)
        fail<IoError>("{}: offset {}: no zip64 record here", name, where);
      r64.take(28, "a zip64 record");
      d.entries = r64.little<uint64_t>("the entry count");
      d.size = r64.little<uint64_t>("the directory size");
      d.offset = r64.little<uint64_t>("the directory offset");
    }
  }
  if (d.offset > at || d.size > at - d.offset)
    fail<IoError>("{}: offset {}: the zip directory lies outside the file", name, at);
  return d;
}

ZipEntry read_central(ByteReader& r) {
  ZipEntry e;
  if (r.little<uint32_t>("a directory entry") != kCentral) r.fail("no zip directory entry here");
  r.take(4, "the versions");
  const auto flags = r.little<uint16_t>("the flags");
  if (flags & 1) r.fail("an encrypted zip entry");
  e.method = r.little<uint16_t>("the method");
  r.take(4, "the time");
  e.crc = r.little<uint32_t>("the CRC");
  const auto packed = r.little<uint32_t>("the packed size"), size = r.little<uint32_t>("the size");
  const auto name_size = r.little<uint16_t>("the name's size"),
             extra_size = r.little<uint16_t>("the extra size");
  const auto comment_size = r.little<uint16_t>("the comment's size");
  r.take(8, "the attributes");
  const auto local = r.little<uint32_t>("the local offset");
  e.packed = packed, e.size = size, e.local = local;
  e.name = as_text(r.take(name_size, "the name"));
  const size_t extra_at = r.at();
  ByteReader extra(r.take(extra_size, "the extra fields"),
                   fmt::format("the extra fields at {}", extra_at));
  while (extra.left() >= 4) {
    const auto id = extra.little<uint16_t>("a field"), length = extra.little<uint16_t>("a field");
    ByteReader field(extra.take(length, "an extra field"),
                     fmt::format("the zip64 field at {}", extra_at));
    if (id != 1) continue;
    if (size == 0xFFFFFFFF) e.size = field.little<uint64_t>("the size");
    if (packed == 0xFFFFFFFF) e.packed = field.little<uint64_t>("the packed size");
    if (local == 0xFFFFFFFF) e.local = field.little<uint64_t>("the local offset");
  }
  r.take(comment_size, "the comment");
  return e;
}

}  // namespace

FileTensors load_npz(Bytes bytes, const std::string& name) {
  const ZipDirectory d = find_directory(bytes, name);
  FileTensors arrays;
  arrays.file = name;
  std::set<std::string> names;
  ByteReader directory(bytes.first(static_cast<size_t>(d.offset + d.size)), name,
                       static_cast<size_t>(d.offset));
  uint64_t total = 0;
  for (uint64_t i = 0; i < d.entries; ++i) {
    ZipEntry e = read_central(directory);
    const std::string where = name + "(" + e.name + ")";
    total += e.packed;
    // Entries that share bytes could make a small file inflate without end.
    if (e.packed > bytes.size() || total > bytes.size())
      fail<IoError>("{}: the zip entries overlap", where);
    if (e.local > bytes.size()) fail<IoError>("{}: its local header lies outside the file", where);
    ByteReader local(bytes, where, static_cast<size_t>(e.local));
    if (local.little<uint32_t>("a local header") != kLocal)
      fail<IoError>("{}: offset {}: no zip entry here", where, e.local);
    local.take(22, "a local header");
    const auto name_size = local.little<uint16_t>("the name's size"),
               extra_size = local.little<uint16_t>("the extra size");
    if (as_text(local.take(name_size, "the name")) != e.name)
      local.fail("the local header has another name");
    local.take(extra_size, "the extra fields");
    const size_t data_at = local.at();
    Bytes content = local.take(e.packed, "the entry");
    std::vector<uint8_t> inflated;
    if (e.method == 8) {
      Inflater inflater(content, Inflater::Format::raw, where, data_at);
      inflated = inflater.read_exactly(e.size, "the entry's data");
      inflater.expect_end();
      content = inflated;
    } else if (e.method != 0) {
      fail<IoError>("{}: zip method {} is unknown, expected stored or deflated", where, e.method);
    } else if (e.packed != e.size) {
      fail<IoError>("{}: a stored entry of {} bytes that claims {}", where, e.packed, e.size);
    }
    if (crc_of(content) != e.crc) fail<IoError>("{}: its CRC differs: the file is damaged", where);
    std::string key = e.name;
    if (key.ends_with(".npy")) key.resize(key.size() - 4);
    if (find_invalid_utf8(key) != std::string::npos)
      fail<IoError>("{}: a name that is not UTF-8", name);
    if (!names.insert(key).second) fail<IoError>("{}: the name '{}' twice", name, key);
    try {
      if (!e.name.ends_with(".npy")) fail<Unsupported>("{}: is no .npy file", where);
      arrays.emplace(key, load_npy(content, where));
    } catch (const Unsupported& reason) { arrays.unread.emplace(key, reason.what()); }
  }
  return arrays;
}

FileTensors load_npz(const std::string& path) { return load_npz(MappedFile(path).bytes(), path); }

void save_npz(const std::string& path, const std::map<std::string, Tensor>& arrays) {
  AtomicFile file(path);
  std::string central;
  uint64_t at = 0;
  const auto put = [](std::string& s, auto v) {
    s.append(reinterpret_cast<const char*>(&v), sizeof v);
  };
  for (const auto& [key, tensor] : arrays) {
    const std::string entry = key + ".npy", content = encode_npy(tensor);
    if (key.empty() || entry.size() > 65535 || find_invalid_utf8(entry) != std::string::npos)
      fail<ValueError>("save_npz: the name '{}' cannot stand in a .npz file", key);
    // Sizes and offset always in the zip64 field, so that large arrays need no other path.
    const auto head = [&](std::string& s) {
      put(s, uint16_t{45});                         // version needed
      put(s, uint16_t{0x800});                      // the name is UTF-8
      put(s, uint16_t{0});                          // stored
      put(s, uint16_t{0}), put(s, uint16_t{0x21});  // 1980-01-01
      put(s, crc_of(as_bytes(content)));
      put(s, ~uint32_t{0}), put(s, ~uint32_t{0});
      put(s, static_cast<uint16_t>(entry.size()));
    };
    const uint64_t size = content.size();
    std::string local;
    put(local, kLocal), head(local), put(local, uint16_t{20});
    local += entry;
    put(local, uint16_t{1}), put(local, uint16_t{16}), put(local, size), put(local, size);
    put(central, kCentral), put(central, uint16_t{45 | 3 << 8}), head(central),
        put(central, uint16_t{28});
    put(central, uint16_t{0}), put(central, uint16_t{0}), put(central, uint16_t{0}),
        put(central, uint32_t{0x01800000});
    put(central, ~uint32_t{0});
    central += entry;
    put(central, uint16_t{1}), put(central, uint16_t{24}), put(central, size), put(central, size),
        put(central, at);
    file.write(local);
    file.write(content);
    at += local.size() + size;
  }
  std::string end;
  const uint64_t count = arrays.size(), size = central.size();
  const bool wide = count >= 0xFFFF || at + size >= 0xFFFFFFFF;
  if (wide) {
    put(end, kEnd64), put(end, uint64_t{44}), put(end, uint16_t{45}), put(end, uint16_t{45}),
        put(end, uint64_t{0});
    put(end, count), put(end, count), put(end, size), put(end, at);
    put(end, kLocator64), put(end, uint32_t{0}), put(end, at + size), put(end, uint32_t{1});
  }
  const auto count16 = static_cast<uint16_t>(wide ? 0xFFFF : count);
  put(end, kEnd), put(end, uint32_t{0}), put(end, count16), put(end, count16);
  put(end, static_cast<uint32_t>(wide ? 0xFFFFFFFF : size)),
      put(end, static_cast<uint32_t>(wide ? 0xFFFFFFFF : at));
  put(end, uint16_t{0});
  file.write(central);
  file.write(end);
  file.commit();
}

}  // namespace loupe
