#pragma once
// Reads TensorBoard's event files back, with every checksum checked.
#include <loupe/io/tensorboard.h>

#include <map>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <vector>

#include "helpers.h"

inline uint32_t masked_crc(loupe::Bytes b) {
  const uint32_t c = loupe::crc32c(b);
  return (c >> 15 | c << 17) + 0xa282ead8u;
}

/// The events of a file.
inline std::vector<std::string> events(const std::string& path) {
  const std::string file = loupe::read_file(path);
  loupe::ByteReader r(loupe::as_bytes(file), path);
  std::vector<std::string> out;
  while (r.left() > 0) {
    const loupe::Bytes length = loupe::as_bytes(file).subspan(r.at(), 8);
    const auto n = r.little<uint64_t>("length");
    REQUIRE(r.little<uint32_t>("crc") == masked_crc(length));
    const loupe::Bytes data = r.take(n, "data");
    REQUIRE(r.little<uint32_t>("crc") == masked_crc(data));
    out.emplace_back(loupe::as_text(data));
  }
  return out;
}

/// A length-delimited field, which must be there.
inline std::string field(const std::string& message, uint32_t tag) {
  protozero::pbf_reader r(message);
  REQUIRE(r.next(tag));
  return r.get_string();
}

inline int64_t step_of(const std::string& event) {
  protozero::pbf_reader r(event);
  return r.next(2) ? r.get_int64() : 0;
}

/// tag -> step -> value of all scalars in a file.
inline std::map<std::string, std::map<int64_t, float>> scalars(const std::string& path) {
  std::map<std::string, std::map<int64_t, float>> out;
  for (const std::string& event : events(path)) {
    protozero::pbf_reader e(event);
    if (!e.next(5)) continue;
    const std::string value = field(e.get_string(), 1);
    protozero::pbf_reader v(value);
    if (!v.next(2)) continue;
    CHECK(out[field(value, 1)].emplace(step_of(event), v.get_float()).second);
  }
  return out;
}
