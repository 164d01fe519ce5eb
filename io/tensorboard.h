#pragma once
// TensorBoard's event files, written without TensorFlow: records framed with a masked CRC-32C
// around protobuf messages.
#include <loupe/core/tensor.h>
#include <loupe/io/file.h>

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace loupe {

/// A node of the picture that TensorBoard's graph page draws; slashes in a name nest it.
struct GraphNode {
  std::string name, op;
  std::vector<std::string> inputs;  // names of nodes
  std::vector<Shape> output_shapes;
  std::map<std::string, std::string> attributes;
};

/// Writes one run: a new file in `folder`, which TensorBoard may watch while it grows. Events reach
/// the system at the latest with the first one that comes a second after the last flush. For one
/// thread at a time. ValueError for a tag or a node's name that is empty or not UTF-8.
class EventWriter : Pinned {
 public:
  /// Creates the folder (and those above). IoError if that or the file fails.
  explicit EventWriter(const std::string& folder);
  ~EventWriter();

  void scalar(const std::string& tag, double value, int64_t step);
  /// The distribution of a tensor's elements, in TensorFlow's exponential buckets (a tenth wider
  /// each, from 1e-12 on both sides of 0). NaN and infinite elements are left out.
  void histogram(const std::string& tag, const Tensor& values, int64_t step);
  /// Markdown.
  void text(const std::string& tag, const std::string& markdown, int64_t step);
  /// `pixels` as encode_png takes them.
  void image(const std::string& tag, Bytes pixels, int64_t height, int64_t width, int channels,
             int64_t step);
  /// A picture, u8 (height, width, channels). DtypeError, ShapeError.
  void image(const std::string& tag, const Tensor& picture, int64_t step);
  void graph(const std::vector<GraphNode>& nodes);
  /// A run that goes on from `step` after a crash: TensorBoard forgets what earlier files of the
  /// folder tell beyond it.
  void restart(int64_t step);

  /// Hands everything to the system: it then survives the end of this process. IoError if the disk
  /// is full.
  void flush();
  const std::string& path() const { return path_; }

 private:
  void event(int64_t step, int field, const std::string& message);
  void record(const std::string& data);

  std::string path_, buffer_;
  int fd_ = -1;
  std::set<std::string> described_;  // tags whose first value has told their plugin
  std::chrono::steady_clock::time_point flushed_;
};

/// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(Bytes bytes);

}  // namespace loupe
