#pragma once
// Reads the fixtures (tests/fixtures/*.safetensors, written from PyTorch by the scripts beside
// them) and compares with them.
#include <loupe/core/raw.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "catch.h"

namespace fixture {
using namespace loupe;

/// One fixture file. A reader of its own, for exactly what the scripts write, so that the tests of
/// io are not tests of these.
class Fixture {
 public:
  explicit Fixture(const std::string& file) {
    std::ifstream in(std::string(LOUPE_FIXTURES) + "/" + file, std::ios::binary);
    if (!in) fail<IoError>("fixture: {} is missing", file);
    std::stringstream all;
    all << in.rdbuf();
    const std::string bytes = all.str();
    uint64_t n = 0;
    std::memcpy(&n, bytes.data(), 8);
    header_ = bytes.substr(8, n);
    data_ = bytes.substr(8 + n);
    parse();
  }
  bool has(const std::string& key) const { return entries_.count(key) > 0; }
  /// A tensor; floating values are converted to `dtype`.
  Tensor get(const std::string& key, DType dtype = DType::f64) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) fail<IndexError>("fixture: no tensor {}", key);
    const Entry& e = found->second;
    Tensor t = raw::empty(e.shape, e.dtype);
    dispatch(e.dtype, [&]<class T>(Type<T>) {
      std::memcpy(static_cast<void*>(t.ptr<T>()), data_.data() + e.begin,
                  static_cast<size_t>(t.numel()) * sizeof(T));
    });
    return is_floating(e.dtype) ? raw::to(t, dtype) : t;
  }
  const std::string& meta(const std::string& key) const { return meta_.at(key); }
  /// What follows `prefix` in the keys that begin with it.
  std::vector<std::string> under(const std::string& prefix) const {
    std::vector<std::string> names;
    for (auto it = entries_.lower_bound(prefix);
         it != entries_.end() && it->first.starts_with(prefix); ++it)
      names.push_back(it->first.substr(prefix.size()));
    return names;
  }
  /// The first parts of all keys: the cases.
  std::vector<std::string> cases() const {
    std::vector<std::string> names;
    for (const auto& [key, e] : entries_) {
      const std::string first = key.substr(0, key.find('/'));
      if (names.empty() || names.back() != first) names.push_back(first);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }

 private:
  struct Entry {
    DType dtype;
    Shape shape;
    size_t begin;
  };
  // {"__metadata__":{"k":"v",...},"name":{"dtype":"F64","shape":[2,3],"data_offsets":[0,48]},...}
  std::string quoted() {
    at_ = header_.find('"', at_) + 1;
    const size_t end = header_.find('"', at_);
    std::string s = header_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  std::vector<int64_t> numbers() {
    std::vector<int64_t> v;
    at_ = header_.find('[', at_) + 1;
    while (header_[at_] != ']') {
      size_t used = 0;
      v.push_back(std::stoll(header_.substr(at_, 20), &used));
      at_ += used;
      if (header_[at_] == ',') ++at_;
    }
    ++at_;
    return v;
  }
  void parse() {
    at_ = 1;
    while (header_[at_] != '}') {
      const std::string key = quoted();
      at_ += 2;  // :{
      if (key == "__metadata__") {
        while (header_[at_] != '}') {
          const std::string name = quoted();
          meta_[name] = quoted();
        }
      } else {
        Entry e{};
        for (int field = 0; field < 3; ++field) {
          const std::string name = quoted();
          if (name == "dtype") {
            const std::string type = quoted();
            e.dtype = type == "F64"   ? DType::f64
                      : type == "F32" ? DType::f32
                      : type == "I64" ? DType::i64
                      : type == "U8"  ? DType::u8
                                      : DType::boolean;
          } else if (name == "shape") {
            e.shape = Shape(numbers());
          } else {
            e.begin = static_cast<size_t>(numbers()[0]);
          }
        }
        entries_[key] = e;
      }
      at_ = header_.find('}', at_) + 1;
      if (header_[at_] == ',') ++at_;
    }
  }

  std::string header_, data_;
  size_t at_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> meta_;
};

/// The largest differences a run saw, by group; LOUPE_SHOW_DIFFERENCES=1 prints them at the end.
class Seen {
 public:
  static Seen& instance() {
    static Seen seen;
    return seen;
  }
  void add(const std::string& group, double absolute, double relative) {
    auto& g = groups_[group];
    g.absolute = std::max(g.absolute, absolute);
    g.relative = std::max(g.relative, relative);
    ++g.count;
  }
  ~Seen() {
    if (!std::getenv("LOUPE_SHOW_DIFFERENCES")) return;
    for (const auto& [name, g] : groups_)
      std::printf("%-34s %5d tensors, largest difference %.2e absolute, %.2e relative\n",
                  name.c_str(), g.count, g.absolute, g.relative);
  }

 private:
  struct Group {
    double absolute = 0, relative = 0;
    int count = 0;
  };
  std::map<std::string, Group> groups_;
};

/// |got - want| <= tolerance * max |want|, element by element, NaN never. `group` is where the
/// difference is counted.
inline void same(const std::string& group, const std::string& what, const Tensor& got,
                 const Tensor& want, double tolerance) {
  INFO(what);
  REQUIRE(got.defined());
  REQUIRE(got.shape() == want.shape());
  const auto a = raw::row_major(raw::to(got, DType::f64)).to_vector<double>();
  const auto b = raw::row_major(raw::to(want, DType::f64)).to_vector<double>();
  double largest = 0, difference = 0;
  size_t where = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    const double d = std::isnan(a[i]) || std::isnan(b[i]) ? std::numeric_limits<double>::infinity()
                                                          : std::abs(a[i] - b[i]);
    if (d > difference) difference = d, where = i;
  }
  const double relative = difference == 0 ? 0 : difference / std::max(largest, 1e-30);
  Seen::instance().add(group, difference, relative);
  INFO("element " << where << " of " << a.size() << ": got " << (a.empty() ? 0 : a[where])
                  << ", PyTorch " << (a.empty() ? 0 : b[where]));
  INFO("difference " << difference << ", relative to the largest element " << relative
                     << ", allowed " << tolerance);
  CHECK(relative <= tolerance);
}

}  // namespace fixture
