#include <loupe/core/raw.h>
#include <loupe/io/png.h>
#include <loupe/io/tensorboard.h>
#include <loupe/io/utf8.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <limits>
#include <protozero/pbf_writer.hpp>

namespace loupe {
namespace {

using protozero::pbf_writer;

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0x82F63B78u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}();

uint32_t masked_crc(std::string_view s) {
  const uint32_t c = crc32c(as_bytes(s));
  return (c >> 15 | c << 17) + 0xa282ead8u;
}

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto.
constexpr protozero::pbf_tag_type kGraphDef = 4, kSummary = 5, kSessionLog = 7;

/// Protobuf's strings are UTF-8: TensorBoard passes over a file with another one, without a word.
void check_text(const char* what, const std::string& s) {
  if (find_invalid_utf8(s) != std::string::npos)
    fail<ValueError>("EventWriter: a {} is not valid UTF-8", what);
}
void check_name(const char* what, const std::string& s) {
  if (s.empty()) fail<ValueError>("EventWriter: a {} is empty", what);
  check_text(what, s);
}

/// A Summary with one value; fill(writer) adds what the value is.
template <class F> std::string summary(const std::string& tag, F fill) {
  check_name("tag", tag);
  std::string out;
  pbf_writer message{out};
  pbf_writer value{message, 1};
  value.add_string(1, tag);
  fill(value);
  return out;
}

/// TensorFlow's bucket limits, ascending.
const std::vector<double>& bucket_limits() {
  static const std::vector<double> limits = [] {
    std::vector<double> v = {0};
    for (double x = 1e-12; x < 1e20; x *= 1.1) v.push_back(x), v.push_back(-x);
    v.push_back(std::numeric_limits<double>::max());
    std::sort(v.begin(), v.end());
    return v;
  }();
  return limits;
}

}  // namespace

uint32_t crc32c(Bytes bytes) {
  uint32_t c = ~0u;
  for (const uint8_t b : bytes) c = kCrcTable[(c ^ b) & 255] ^ c >> 8;
  return ~c;
}

EventWriter::EventWriter(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail<IoError>("{}: cannot create the folder: {}", folder, error.message());
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  static std::atomic<int> counter{0};
  path_ = fmt::format("{}/events.out.tfevents.{:010}.{}.{}.{}", folder, std::time(nullptr), host,
                      ::getpid(), counter++);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail<IoError>("{}: cannot create: {}", path_, std::strerror(errno));
  event(0, 3, "brain.Event:2");
  flush();
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (const IoError&) {  // whoever must know calls flush()
  }
  ::close(fd_);
}

void EventWriter::flush() {
  flushed_ = std::chrono::steady_clock::now();
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int code = errno;
      buffer_.erase(0, done);
      fail<IoError>("{}: cannot write: {}", path_, std::strerror(code));
    }
    done += static_cast<size_t>(n);
  }
  buffer_.clear();
}

void EventWriter::record(const std::string& data) {
  const auto put = [&](auto v) { buffer_.append(reinterpret_cast<const char*>(&v), sizeof v); };
  const uint64_t size = data.size();
  put(size);
  put(masked_crc({reinterpret_cast<const char*>(&size), sizeof size}));
  buffer_ += data;
  put(masked_crc(data));
  if (buffer_.size() > 1 << 20 ||
      std::chrono::steady_clock::now() - flushed_ > std::chrono::seconds(1))
    flush();
}

void EventWriter::event(int64_t step, int field, const std::string& message) {
  std::string out;
  pbf_writer event{out};
  event.add_double(
      1,
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  if (step != 0) event.add_int64(2, step);
  event.add_bytes(static_cast<protozero::pbf_tag_type>(field), message);
  record(out);
}

void EventWriter::scalar(const std::string& tag, double value, int64_t step) {
  event(step, kSummary,
        summary(tag, [&](pbf_writer& v) { v.add_float(2, static_cast<float>(value)); }));
}

void EventWriter::histogram(const std::string& tag, const Tensor& values, int64_t step) {
  const std::vector<double>& limits = bucket_limits();
  std::vector<double> counts(limits.size());
  double low = 0, high = 0, num = 0, sum = 0, squares = 0;
  dispatch(values.dtype(), [&]<class T>(Type<T>) {
    const Tensor dense = raw::row_major(values);
    for (const T element : dense.data<T>()) {
      const double x = static_cast<double>(element);
      if (!std::isfinite(x)) continue;
      low = num > 0 ? std::min(low, x) : x;
      high = num > 0 ? std::max(high, x) : x;
      ++num, sum += x, squares += x * x;
      ++counts[static_cast<size_t>(std::lower_bound(limits.begin(), limits.end(), x) -
                                   limits.begin())];
    }
  });
  // The buckets between the first and the last that hold something, after an empty one that tells
  // the left edge.
  const auto filled = [](double n) { return n > 0; };
  auto first = std::find_if(counts.begin(), counts.end(), filled);
  const auto last = std::find_if(counts.rbegin(), counts.rend(), filled).base();
  if (first != counts.begin() && first != counts.end()) --first;
  const auto limit = [&](auto it) { return limits.begin() + (it - counts.begin()); };
  event(step, kSummary, summary(tag, [&](pbf_writer& v) {
          pbf_writer h{v, 5};
          h.add_double(1, low);
          h.add_double(2, high);
          h.add_double(3, num);
          h.add_double(4, sum);
          h.add_double(5, squares);
          if (num > 0) {
            h.add_packed_double(6, limit(first), limit(last));
            h.add_packed_double(7, first, last);
          }
        }));
}

void EventWriter::text(const std::string& tag, const std::string& markdown, int64_t step) {
  check_name("tag", tag), check_text("text", markdown);
  event(step, kSummary, summary(tag + "/text_summary", [&](pbf_writer& v) {
          {
            pbf_writer tensor{v, 8};
            tensor.add_int32(1, 7);  // DT_STRING
            {
              pbf_writer shape{tensor, 2};
              pbf_writer dim{shape, 2};
              dim.add_int64(1, 1);
            }
            tensor.add_string(8, markdown);
          }
          if (described_.insert(tag).second) {
            pbf_writer metadata{v, 9};
            pbf_writer plugin{metadata, 1};
            plugin.add_string(1, "text");
          }
        }));
}

void EventWriter::image(const std::string& tag, Bytes pixels, int64_t height, int64_t width,
                        int channels, int64_t step) {
  const std::string png = encode_png(pixels, height, width, channels);
  event(step, kSummary, summary(tag, [&](pbf_writer& v) {
          pbf_writer image{v, 4};
          image.add_int32(1, static_cast<int32_t>(height));
          image.add_int32(2, static_cast<int32_t>(width));
          image.add_int32(3, channels);
          image.add_bytes(4, png);
        }));
}

void EventWriter::image(const std::string& tag, const Tensor& picture, int64_t step) {
  if (picture.dim() != 3)
    fail<ShapeError>("EventWriter::image: needs (height, width, channels), got {}",
                     picture.shape());
  if (picture.dtype() != DType::u8)
    fail<DtypeError>("EventWriter::image: needs u8, got {}", picture.dtype());
  image(tag, picture.data<uint8_t>(), picture.size(0), picture.size(1),
        static_cast<int>(picture.size(2)), step);
}

void EventWriter::graph(const std::vector<GraphNode>& nodes) {
  std::string def;
  pbf_writer graph{def};
  for (const GraphNode& node : nodes) {
    check_name("node's name", node.name), check_name("node's op", node.op);
    pbf_writer n{graph, 1};
    n.add_string(1, node.name);
    n.add_string(2, node.op);
    for (const std::string& input : node.inputs) n.add_string(3, input);
    for (const auto& [key, value] : node.attributes) {
      pbf_writer entry{n, 5};
      entry.add_string(1, key);
      pbf_writer v{entry, 2};
      v.add_bytes(2, value);
    }
    if (!node.output_shapes.empty()) {
      pbf_writer entry{n, 5};
      entry.add_string(1, "_output_shapes");
      pbf_writer v{entry, 2};
      pbf_writer list{v, 1};
      for (const Shape& s : node.output_shapes) {
        pbf_writer shape{list, 7};
        for (const int64_t size : s) {
          pbf_writer dim{shape, 2};
          dim.add_int64(1, size);
        }
      }
    }
  }
  {
    pbf_writer versions{graph, 4};
    versions.add_int32(1, 22);
  }
  event(0, kGraphDef, def);
  flush();
}

void EventWriter::restart(int64_t step) {
  std::string log;
  pbf_writer{log}.add_enum(1, 1);  // SessionLog.status = START
  event(step + 1, kSessionLog, log);
}

}  // namespace loupe
