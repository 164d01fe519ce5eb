#include <loupe/core/raw.h>
#include <loupe/io/model_graph.h>
#include <loupe/io/png.h>
#include <loupe/io/tensorboard.h>
#include <loupe/layers/linear.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "events.h"

using namespace loupe;
using Catch::Matchers::Contains;
using protozero::pbf_reader;

TEST_CASE("crc32c of the values in RFC 3720") {
  CHECK(crc32c(as_bytes("123456789")) == 0xE3069283);
  CHECK(crc32c(as_bytes(std::string(32, '\0'))) == 0x8A9136AA);
  CHECK(crc32c(as_bytes(std::string(32, '\xff'))) == 0x62A8AB43);
}

TEST_CASE("events are framed, flushed and hold the values") {
  TempDir dir;
  EventWriter w(dir / "run/one");
  CHECK_THAT(w.path(), Contains("/run/one/events.out.tfevents."));
  CHECK(field(events(w.path())[0], 3) == "brain.Event:2");
  w.scalar("loss", 0, 0);
  w.scalar("loss", 2.5, 7);
  w.flush();
  const auto all = events(w.path());
  REQUIRE(all.size() == 3);
  pbf_reader event(all[2]);
  REQUIRE(event.next(2));
  CHECK(event.get_int64() == 7);
  const std::string value = field(field(all[2], 5), 1);
  CHECK(field(value, 1) == "loss");
  pbf_reader v(value);
  REQUIRE(v.next(2));
  CHECK(v.get_float() == 2.5f);
  const std::string zeros = field(field(all[1], 5), 1);
  pbf_reader zero(zeros);
  REQUIRE(zero.next(2));  // written although it is the default
  CHECK(zero.get_float() == 0.0f);
}

TEST_CASE(
    "histograms: buckets add up to the counts, edges enclose, non-finite values are left out") {
  TempDir dir;
  EventWriter w(dir.path.string());
  w.histogram("h", tensor({-2, -1, 0, 0, 1e-15, 3, NAN, INFINITY, 1e30}, {}, DType::f64), 1);
  w.histogram("none", tensor({NAN}), 1);
  w.histogram("empty", raw::zeros({0}), 1);
  w.flush();
  const auto all = events(w.path());
  const std::string h = field(field(field(all[1], 5), 1), 5);
  pbf_reader r(h);
  std::vector<double> numbers, limits, counts;
  while (r.next()) {
    auto& to = r.tag() <= 5 ? numbers : r.tag() == 6 ? limits : counts;
    if (r.tag() <= 5) to.push_back(r.get_double());
    else
      for (const double x : r.get_packed_double()) to.push_back(x);
  }
  CHECK(numbers[0] == -2);
  CHECK(numbers[1] == 1e30);
  CHECK(numbers[2] == 7);
  REQUIRE(limits.size() == counts.size());
  CHECK(counts.front() == 0);
  CHECK(counts.back() == 1);
  const auto in = [&](double low, double high) {
    double n = 0;
    for (size_t i = 1; i < limits.size(); ++i)
      if (limits[i - 1] >= low && limits[i] <= high) n += counts[i];
    return n;
  };
  CHECK(in(-3, -0.5) == 2);
  CHECK(in(-1e-11, 0) == 2);
  CHECK(in(0, 1e-12) == 1);
  CHECK(in(2, 4) == 1);
  CHECK(all.size() == 4);
}

TEST_CASE(
    "text names its plugin once; images are PNG; a folder that cannot be made is an IoError") {
  TempDir dir;
  EventWriter w(dir.path.string());
  w.text("notes", "**bold**", 0);
  w.text("notes", "more", 1);
  const std::vector<uint8_t> pixels(2 * 3 * 3, 9);
  w.image("picture", pixels, 2, 3, 3, 4);
  w.flush();
  const auto all = events(w.path());
  const std::string first = field(field(all[1], 5), 1), second = field(field(all[2], 5), 1);
  CHECK(field(first, 1) == "notes/text_summary");
  CHECK(field(field(field(first, 9), 1), 1) == "text");
  CHECK_FALSE(pbf_reader(second).next(9));
  CHECK(field(field(second, 8), 8) == "more");
  CHECK(field(field(field(field(all[3], 5), 1), 4), 4) == encode_png(pixels, 2, 3, 3));
  write_file(dir / "file", "x");
  CHECK_THAT(error_of([&] { EventWriter(dir / "file/run"); }),
             Contains("cannot create the folder"));
}

TEST_CASE("a restart tells TensorBoard to forget what lies beyond") {
  TempDir dir;
  EventWriter w(dir.path.string());
  w.restart(40);
  w.flush();
  const std::string event = events(w.path())[1], log = field(event, 7);
  CHECK(step_of(event) == 41);
  pbf_reader status(log);
  REQUIRE(status.next(1));
  CHECK(status.get_enum() == 1);  // SessionLog.START
}

TEST_CASE("the graph of a model: parameters by name, ops in their module, every input a node") {
  struct Two : Layer<Two> {
    Linear fc1, fc2;
    explicit Two(Rng& rng) : fc1(rng, 3, 4), fc2(rng, 4, 2) {}
    Tensor forward(In x) { return fc2(fc1(x)); }
    void visit(Visitor& v) override { v("fc1", fc1, "fc2", fc2); }
    std::string type_name() const override { return "Two"; }
  };
  Rng rng(1);
  Two model(rng);
  const auto nodes = model_graph(model(ones({5, 3})), named_parameters(model));
  std::set<std::string> names;
  for (const GraphNode& n : nodes) {
    CHECK(names.insert(n.name).second);
    for (const std::string& input : n.inputs) CHECK(names.contains(input));
  }
  CHECK(names == std::set<std::string>{"fc1/weight", "fc1/bias", "fc1/linear", "fc2/weight",
                                       "fc2/bias", "fc2/linear"});
  CHECK(nodes.back().op == "linear");
  CHECK(nodes.back().output_shapes == std::vector<Shape>{{5, 2}});
  TempDir dir;
  EventWriter w(dir.path.string());
  w.graph(nodes);
  const std::string message = field(events(w.path())[1], 4);
  pbf_reader def(message);
  size_t count = 0;
  while (def.next(1)) ++count, def.skip();
  CHECK(count == nodes.size());
}

TEST_CASE("an event a second after the last flush takes the others along") {
  TempDir dir;
  EventWriter w(dir.path.string());
  w.scalar("a", 1, 1);
  CHECK(events(w.path()).size() == 1);  // the version alone
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  w.scalar("a", 2, 2);
  CHECK(events(w.path()).size() == 3);
}
