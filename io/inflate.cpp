#include <loupe/io/inflate.h>

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace loupe {

struct Inflater::Stream {
  z_stream z{};
  Bytes bytes;
  size_t fed = 0;  // bytes handed to zlib so far: its counters have 32 bits only
  Format format = Format::gzip;
  bool ended = false;

  size_t offset() const { return fed - z.avail_in; }
};

Inflater::Inflater(Bytes bytes, Format format, std::string name, size_t base)
    : stream_(std::make_unique<Stream>()), name_(std::move(name)), base_(base) {
  stream_->bytes = bytes;
  stream_->format = format;
  if (inflateInit2(&stream_->z, format == Format::gzip ? 15 + 16 : -15) != Z_OK)
    fail<OutOfMemory>("zlib: no memory left");
}

Inflater::~Inflater() { inflateEnd(&stream_->z); }

size_t Inflater::read(uint8_t* out, size_t n) {
  Stream& s = *stream_;
  size_t done = 0;
  while (done < n && !s.ended) {
    if (s.z.avail_in == 0) {
      const size_t piece = std::min<size_t>(s.bytes.size() - s.fed, 1u << 30);
      s.z.next_in = const_cast<Bytef*>(s.bytes.data() + s.fed);
      s.z.avail_in = static_cast<uInt>(piece);
      s.fed += piece;
    }
    const size_t room = std::min<size_t>(n - done, 1u << 30);
    s.z.next_out = out + done;
    s.z.avail_out = static_cast<uInt>(room);
    const int code = ::inflate(&s.z, Z_NO_FLUSH);
    done += room - s.z.avail_out;
    if (code == Z_STREAM_END) {
      s.ended = true;
      // A gzip file may be several members in a row.
      if (s.format == Format::gzip && is_gzip(s.bytes.subspan(s.offset())))
        s.ended = inflateReset(&s.z) != Z_OK;
    } else if (code == Z_BUF_ERROR || (code == Z_OK && s.z.avail_in == 0 &&
                                       s.fed == s.bytes.size() && s.z.avail_out > 0)) {
      fail<IoError>("{}: offset {}: the compressed data end too early", name_, base_ + s.offset());
    } else if (code == Z_MEM_ERROR) {
      fail<OutOfMemory>("zlib: no memory left");
    } else if (code != Z_OK) {
      fail<IoError>("{}: offset {}: corrupt compressed data ({})", name_, base_ + s.offset(),
                    s.z.msg ? s.z.msg : "zlib");
    }
  }
  return done;
}

std::vector<uint8_t> Inflater::read_exactly(uint64_t n, const char* what) {
  if (n / kMaxDeflateRatio > stream_->bytes.size())
    fail<IoError>("{}: {} claim {} bytes, which {} compressed bytes cannot hold", name_, what, n,
                  stream_->bytes.size());
  std::vector<uint8_t> out;
  // Starts at what an ordinary file inflates to and doubles as data arrive.
  size_t room = static_cast<size_t>(
      std::min<uint64_t>(n, std::max<uint64_t>(4096, 4 * stream_->bytes.size())));
  for (size_t done = 0; done < n;) {
    out.resize(room);
    done += read(out.data() + done, room - done);
    if (done < room)
      fail<IoError>("{}: {} should be {} bytes, but the file ends after {}", name_, what, n, done);
    room = static_cast<size_t>(std::min<uint64_t>(n, 2 * uint64_t{room}));
  }
  return out;
}

void Inflater::expect_end() {
  uint8_t extra;
  if (read(&extra, 1) != 0) fail<IoError>("{}: more data than the header says", name_);
  if (stream_->offset() != stream_->bytes.size())
    fail<IoError>("{}: offset {}: bytes after the end of the compressed data", name_,
                  base_ + stream_->offset());
}

}  // namespace loupe
