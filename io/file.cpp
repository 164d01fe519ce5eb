#include <loupe/io/file.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
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
  if (path.find('\0') != std::string::npos)
    fail<IoError>("a file name holds a zero byte: {}", path.c_str());
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
  if (path.find('\0') != std::string::npos)
    fail<IoError>("a file name holds a zero byte: {}", path.c_str());
  beside_ = fmt::format("{}.{}-{}.partial", path, ::getpid(), counter.fetch_add(1));
  fd_ = call("open", [&] {
    return ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  });
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
  if (call("rename", [&] { return ::rename(beside_.c_str(), path_.c_str()); }) != 0)
    fail_errno(path_, "rename to");
  beside_.clear();
  // The new name itself must reach the disk too.
  const Fd dir{call("fsync_dir", [&] {
    return ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  })};
  if (dir.fd < 0 || (::fsync(dir.fd) != 0 && errno != EINVAL))
    fail_errno(path_, "flush the folder of");
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

// ---- SHA-256
// ------------------------------------------------------------------------------------------------------

Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
    fail<IoError>("SHA-256: libcrypto has none");
}

void Sha256::update(const void* data, size_t size) {
  if (EVP_DigestUpdate(context_.get(), data, size) != 1) fail<IoError>("SHA-256: used after hex()");
}

std::string Sha256::hex() {
  uint8_t digest[32];
  if (EVP_DigestFinal_ex(context_.get(), digest, nullptr) != 1)
    fail<IoError>("SHA-256: used after hex()");
  std::string out;
  for (const uint8_t byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

std::string sha256(Bytes bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_of_file(const std::string& path) { return sha256(MappedFile(path).bytes()); }

}  // namespace loupe
