#include <loupe/io/file.h>

#include <sys/stat.h>

#include <cerrno>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

TEST_CASE("sha256 of known messages, at every split") {
  CHECK(sha256(as_bytes("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256(as_bytes("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(as_bytes(std::string(1000000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (size_t n : {55u, 56u, 63u, 64u, 65u, 119u, 120u, 128u}) {
    const std::string s(n, 'x');
    for (size_t cut = 0; cut <= n; ++cut) {
      Sha256 h;
      h.update(s.substr(0, cut));
      h.update(s.substr(cut));
      REQUIRE(h.hex() == sha256(as_bytes(s)));
    }
  }
  CHECK(sha256(as_bytes(std::string(64, 'x'))) ==
        "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c");
}

TEST_CASE("files are read and mapped; what cannot be is an IoError with the name") {
  TempDir dir;
  write_file(dir / "a", "hello");
  CHECK(read_file(dir / "a") == "hello");
  CHECK(as_text(MappedFile(dir / "a").bytes()) == "hello");
  write_file(dir / "empty", "");
  CHECK(read_file(dir / "empty").empty());
  CHECK(MappedFile(dir / "empty").bytes().empty());
  CHECK(!read_file("/proc/self/status").empty());
  {
    MappedFile map(dir / "a");
    map.data()[0] = 'J';  // private to this process
  }
  CHECK(read_file(dir / "a") == "hello");
  CHECK_THAT(error_of([&] { read_file(dir / "none"); }),
             Contains("none: cannot open: No such file"));
  CHECK_THAT(error_of([&] { MappedFile map(dir / "none"); }),
             Contains("none: cannot open: No such file"));
  CHECK_THAT(error_of([&] { read_file(dir.path.string()); }), Contains("is a folder"));
  REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK_THAT(error_of([&] { read_file(dir / "fifo"); }), Contains("not a regular file"));
  CHECK_THAT(error_of([&] { read_file(std::string("a\0b", 3)); }), Contains("zero byte"));
}

TEST_CASE("an atomic file appears whole or not at all, whichever system call fails") {
  TempDir dir;
  const std::string path = dir / "model";
  write_file(path, "old");
  for (const std::string failing : {"open", "write", "fsync", "close", "rename"}) {
    set_write_fault([&](const char* call) { return failing == call ? ENOSPC : 0; });
    CHECK_THAT(error_of([&] { write_file(path, "new"); }), Contains("No space left"));
    set_write_fault({});
    CHECK(read_file(path) == "old");
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path), {}) ==
          1);  // nothing left beside it
  }
  {
    AtomicFile abandoned(path);
    abandoned.write("new");
  }
  CHECK(read_file(path) == "old");
  write_file(path, "new");
  CHECK(read_file(path) == "new");
  set_write_fault([](const char* call) { return std::string("fsync_dir") == call ? EIO : 0; });
  CHECK_THAT(error_of([&] { write_file(path, "newest"); }), Contains("flush the folder"));
  set_write_fault({});
  CHECK(read_file(path) == "newest");
  CHECK_THAT(error_of([&] { write_file(dir / "no/such/folder", "x"); }),
             Contains("cannot create: No such file"));
  AtomicFile twice(path);
  twice.commit();
  CHECK_THAT(error_of([&] { twice.commit(); }), Contains("committed twice"));
}

TEST_CASE("ByteReader names file and offset") {
  ByteReader r(as_bytes("\x01\x02\x03\x04\x05"), "f");
  CHECK(r.big32("x") == 0x01020304);
  CHECK(r.at() == 4);
  CHECK(error_of([&] { r.little<uint16_t>("a number"); }) ==
        "f: offset 4: truncated: a number takes 2 bytes but only 1 are left");
  CHECK_THAT(error_of([&] { r.take(~uint64_t{0}, "data"); }), Contains("truncated"));
}
