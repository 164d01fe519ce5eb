#pragma once
// Files: mapped reading, atomic writing, SHA-256, and a cursor over bytes whose errors name file
// and offset.
#include <loupe/core/error.h>
#include <loupe/core/pinned.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace loupe {

using Bytes = std::span<const uint8_t>;

inline Bytes as_bytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}
inline std::string_view as_text(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

/// A file mapped privately: pages come from the disk when touched, writes to them stay in this
/// process. The file must not be cut short by others while mapped (files replaced by rename, as
/// AtomicFile does, are safe).
class MappedFile : Pinned {
 public:
  /// IoError if `path` is missing, unreadable or not a regular file.
  explicit MappedFile(const std::string& path);
  ~MappedFile();

  Bytes bytes() const { return {data_, size_}; }
  uint8_t* data() const { return data_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

/// The whole file. IoError if it cannot be read.
std::string read_file(const std::string& path);

/// A new file that appears under `path` whole or not at all: written beside it, flushed to the
/// disk, then renamed. Until commit() has renamed it, whatever was at `path` stays; without
/// commit() the partial file is removed. If only the flush of the folder fails, commit() throws,
/// and the new file is there, whole.
class AtomicFile : Pinned {
 public:
  /// IoError if the folder is missing or not writable.
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();

  /// Appends. IoError when the disk is full or fails.
  void write(const void* data, size_t size);
  void write(std::string_view s) { write(s.data(), s.size()); }
  /// fsync, rename, fsync of the folder.
  void commit();

 private:
  std::string path_, beside_;
  int fd_ = -1;
};

/// AtomicFile in one call.
void write_file(const std::string& path, std::string_view content);

/// For tests of interrupted writing: called before each system call of AtomicFile with its name
/// ("open", "write", "fsync", "close", "rename", "fsync_dir"); a result other than 0 is the errno
/// the call then fails with. An empty function switches it off.
void set_write_fault(std::function<int(const char* call)> fault);

/// SHA-256 (FIPS 180-4) by OpenSSL's libcrypto, fed in pieces.
class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t size);
  void update(std::string_view s) { update(s.data(), s.size()); }
  /// 64 lower-case hex digits; the object is then used up.
  std::string hex();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};
std::string sha256(Bytes bytes);
std::string sha256_of_file(const std::string& path);

/// Reads numbers from bytes that may be anything; every overrun is an IoError with file and offset.
class ByteReader {
 public:
  ByteReader(Bytes bytes, std::string name, size_t at = 0)
      : bytes_(bytes), name_(std::move(name)), at_(at) {}

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  /// The next n bytes; `what` says in the error what they should have been.
  Bytes take(uint64_t n, const char* what) {
    if (n > left()) fail("truncated: {} takes {} bytes but only {} are left", what, n, left());
    const Bytes b = bytes_.subspan(at_, static_cast<size_t>(n));
    at_ += static_cast<size_t>(n);
    return b;
  }
  template <class T> T little(const char* what) {
    T v;
    std::memcpy(&v, take(sizeof(T), what).data(), sizeof(T));
    return v;
  }
  uint32_t big32(const char* what) { return __builtin_bswap32(little<uint32_t>(what)); }
  /// IoError "NAME: offset N: ...".
  template <class... A> [[noreturn]] void fail(fmt::format_string<A...> text, A&&... args) const {
    loupe::fail<IoError>("{}: offset {}: {}", name_, at_,
                         fmt::format(text, std::forward<A>(args)...));
  }

 private:
  Bytes bytes_;
  std::string name_;
  size_t at_;
};

}  // namespace loupe
