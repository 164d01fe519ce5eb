#pragma once
// Inflating with zlib where neither the size that a header claims nor the compression ratio is
// trusted.
#include <loupe/io/file.h>

#include <memory>
#include <vector>

namespace loupe {

/// No deflate stream expands more than this: a larger claim is refused before anything is inflated.
inline constexpr uint64_t kMaxDeflateRatio = 1032;

/// A compressed stream read piece by piece.
class Inflater : Pinned {
 public:
  enum class Format { gzip, raw };
  /// `name` and `base` (the offset of bytes[0] in the file) are for error messages; `bytes` must
  /// outlive this.
  Inflater(Bytes bytes, Format format, std::string name, size_t base = 0);
  ~Inflater();

  /// Writes up to n bytes to `out`, fewer only at the end of the stream. IoError on corrupt or
  /// truncated data.
  size_t read(uint8_t* out, size_t n);
  /// Exactly n bytes, growing the result as data really comes; `what` names them in the error.
  std::vector<uint8_t> read_exactly(uint64_t n, const char* what);
  /// IoError unless the stream ends here and no input is left.
  void expect_end();

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
  std::string name_;
  size_t base_;
};

/// Whether the bytes start as a gzip file does.
inline bool is_gzip(Bytes b) { return b.size() >= 2 && b[0] == 0x1f && b[1] == 0x8b; }

}  // namespace loupe
