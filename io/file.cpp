#include <loupe/io/file.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

namespace loupe {
namespace {

std::function<int(const char*)> write_fault;

/// Runs a system call unless the test's fault hook wants it to fail.
template <class F> auto call(const char* name, F f) -> decltype(f()) {
  if (write_fault)
    if (const int code = write_fault(name)) return errno = code, static_cast<decltype(f())>(-1);
  return f();
}

[[noreturn]] void fail_errno(const std::string& path, const char* what) {
  const int code = errno;
  fail<IoError>("{}: cannot {}: {}", path, what, std::strerror(code));
}

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

int open_regular(const std::string& path, size_t& size) {
  if (path.find('\0') != std::string::npos) fail<IoError>("a file name holds a zero byte: {}", path.c_str());
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a FIFO must not block the open
  if (fd.fd < 0) fail_errno(path, "open");
  struct stat info;
  if (::fstat(fd.fd, &info) != 0) fail_errno(path, "stat");
  if (S_ISDIR(info.st_mode)) fail<IoError>("{}: is a folder, expected a file", path);
  if (!S_ISREG(info.st_mode)) fail<IoError>("{}: is not a regular file", path);
  size = static_cast<size_t>(info.st_size);
  return std::exchange(fd.fd, -1);
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Fd fd{open_regular(path, size_)};
  if (size_ == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.fd, 0);
  if (p == MAP_FAILED) fail_errno(path, "map");
  data_ = static_cast<uint8_t*>(p);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

std::string read_file(const std::string& path) {
  size_t size = 0;
  const Fd fd{open_regular(path, size)};
  std::string content(size, '\0');
  size_t done = 0;
  for (;;) {  // files under /proc say size 0, and a file may grow: read until the end
    if (done == content.size()) content.resize(done + 4096);
    const ssize_t n = ::read(fd.fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path, "read");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  content.resize(done);
  return content;
}

void set_write_fault(std::function<int(const char*)> fault) { write_fault = std::move(fault); }

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  static std::atomic<int> counter{0};
  if (path.find('\0') != std::string::npos) fail<IoError>("a file name holds a zero byte: {}", path.c_str());
  beside_ = fmt::format("{}.{}-{}.partial", path, ::getpid(), counter.fetch_add(1));
  fd_ = call("open", [&] { return ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); });
  if (fd_ < 0) fail_errno(beside_, "create");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
  if (fd_ < 0) fail<IoError>("{}: written to after commit()", path_);
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = call("write", [&] { return ::write(fd_, p, size); });
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(beside_, "write");
    p += n;
    size -= static_cast<size_t>(n);
  }
}

void AtomicFile::commit() {
  if (fd_ < 0) fail<IoError>("{}: committed twice", path_);
  if (call("fsync", [&] { return ::fsync(fd_); }) != 0) fail_errno(beside_, "flush to the disk");
  const int fd = std::exchange(fd_, -1);
  const int closed = call("close", [&] { return ::close(fd); });
  if (closed != 0) fail_errno(beside_, "close");
  if (call("rename", [&] { return ::rename(beside_.c_str(), path_.c_str()); }) != 0) fail_errno(path_, "rename to");
  beside_.clear();
  // The new name itself must reach the disk too.
  const Fd dir{call("fsync_dir", [&] { return ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); })};
  if (dir.fd < 0 || (::fsync(dir.fd) != 0 && errno != EINVAL)) fail_errno(path_, "flush the folder of");
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

// ---- SHA-256 ------------------------------------------------------------------------------------------------------

namespace {

constexpr uint32_t kRound[64] = {0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
                                 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
                                 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
                                 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
                                 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
                                 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
                                 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
                                 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha256_block(uint32_t h[8], const uint8_t* p) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    std::memcpy(&w[i], p + 4 * i, 4);
    w[i] = __builtin_bswap32(w[i]);
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], k = h[7];
  for (int i = 0; i < 64; ++i) {
    const uint32_t t1 = k + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    k = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t sum[8] = {a, b, c, d, e, f, g, k};
  for (int i = 0; i < 8; ++i) h[i] += sum[i];
}

}  // namespace

void Sha256::update(const void* data, size_t size) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  size_t filled = length_ % 64;
  length_ += size;
  while (size > 0) {
    if (filled == 0 && size >= 64) {
      sha256_block(h_, p);
      p += 64, size -= 64;
      continue;
    }
    const size_t n = std::min(size, 64 - filled);
    std::memcpy(block_ + filled, p, n);
    p += n, size -= n, filled += n;
    if (filled == 64) sha256_block(h_, block_), filled = 0;
  }
}

std::string Sha256::hex() {
  const uint64_t bits = __builtin_bswap64(length_ * 8);
  static constexpr uint8_t kPad[64] = {0x80};
  update(kPad, 1 + (119 - length_ % 64) % 64);
  update(&bits, 8);
  std::string out;
  for (uint32_t word : h_) out += fmt::format("{:08x}", word);
  return out;
}

std::string sha256(Bytes bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_of_file(const std::string& path) { return sha256(MappedFile(path).bytes()); }

}  // namespace loupe
