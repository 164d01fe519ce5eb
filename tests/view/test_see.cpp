// The page of a step: what it holds, and that it is written when the step fails.
#include <loupe/autograd/ops.h>
#include <loupe/io/file.h>
#include <loupe/io/json.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/models/small_cnn.h>
#include <loupe/view/see.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <stdexcept>

#include "catch.h"
#include "misuse.h"

using namespace loupe;
using misuse::refuses;

namespace {

struct PageOp {
  std::string name, path;
  std::vector<int64_t> inputs;
  std::vector<std::string> parameters;
  double forward = 0, backward = 0;
  int64_t kept = 0;
  double error = 0;
  bool failed = false;
};

double length(JsonReader& r) {
  std::vector<double> ends;
  r.array([&] { ends.push_back(r.number()); });
  return ends[1] - ends[0];
}

PageOp read_op(JsonReader& r) {
  PageOp op;
  r.object([&](const std::string& key) {
    if (key == "name") op.name = r.string();
    else if (key == "path") op.path = r.string();
    else if (key == "inputs") r.array([&] { op.inputs.push_back(r.integer()); });
    else if (key == "parameters") r.array([&] { op.parameters.push_back(r.string()); });
    else if (key == "forward") op.forward = length(r);
    else if (key == "backward") op.backward = length(r);
    else if (key == "kept") op.kept = r.integer();
    else if (key == "error") op.error = r.number();
    else if (key == "failed") op.failed = r.boolean();
    else r.skip();
  });
  return op;
}

struct Page {
  std::string error;
  std::vector<PageOp> ops;
};

Page read_page(const std::string& path) {
  const MappedFile file(path);
  const std::string text(as_text(file.bytes()));
  CHECK(text.find("http") == std::string::npos);  // no request
  const std::string before = "const step = ";
  const size_t at = text.find(before) + before.size();
  const std::string json = text.substr(at, text.find(";\nconst $", at) - at);
  Page page;
  JsonReader r(json, path);
  r.object([&](const std::string& key) {
    if (key == "error") page.error = r.string();
    else if (key == "ops") r.array([&] { page.ops.push_back(read_op(r)); });
    else r.skip();
  });
  r.end();
  std::remove(path.c_str());
  return page;
}

const char* const kPath = "see_test.html";

}  // namespace

TEST_CASE("see: ops, who read whose result, parameters, both directions") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4), Tanh(), Linear(rng, 4, 4));
  const Tensor x = ones({5, 3});
  see(kPath, net, [&] {
    const Tensor h = net(x);
    mean(h * h + h).backward();
  });
  const Page page = read_page(kPath);
  CHECK(page.error.empty());
  REQUIRE(page.ops.size() == 7);  // mean is a sum and a product
  CHECK(page.ops[0].name == "linear");
  CHECK(page.ops[0].path == "0");
  CHECK(page.ops[0].inputs == std::vector<int64_t>{-1});
  CHECK(page.ops[0].parameters == std::vector<std::string>{"0.weight", "0.bias"});
  CHECK(page.ops[1].inputs == std::vector<int64_t>{0});
  CHECK(page.ops[2].inputs == std::vector<int64_t>{1});
  CHECK(page.ops[3].name == "mul");
  CHECK(page.ops[3].inputs == std::vector<int64_t>{2, 2});
  CHECK(page.ops[4].inputs == std::vector<int64_t>{3, 2});
  CHECK(page.ops[0].kept == 60);  // x; the weight is a parameter
  for (const PageOp& op : page.ops) {
    CHECK(op.forward > 0);
    CHECK(op.backward > 0);
    CHECK_FALSE(op.failed);
  }
}

TEST_CASE("see: shadow mode's errors, op by op; its own second computation is not told") {
  Rng rng(0);
  Sequential net(Linear(rng, 30, 40), Tanh(), Linear(rng, 40, 4));
  const Tensor x = randn(rng, {5, 30});
  see(kPath, net, [&] { net(x).sum().backward(); }, {.shadow = true});
  const Page page = read_page(kPath);
  REQUIRE(page.ops.size() == 4);
  CHECK(page.ops[0].name == "linear");
  for (const PageOp& op : page.ops) CHECK(op.error < 1e-5);
  CHECK(page.ops[0].error > 0);
  CHECK(page.ops[1].error > 0);
}

TEST_CASE("see: a shape that does not fit is the op in red, in its module") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4), Linear(rng, 5, 2));
  try {
    see(kPath, net, [&] { net(ones({2, 3})); });
    FAIL("nothing was thrown");
  } catch (const ShapeError& e) {
    const std::string text = e.what();
    CHECK(text.rfind("linear: ", 0) == 0);
    CHECK(text.find(std::string("the graph so far, with the op in red: ") + kPath) !=
          std::string::npos);
  }
  const Page page = read_page(kPath);
  REQUIRE(page.ops.size() == 2);
  CHECK_FALSE(page.ops[0].failed);
  CHECK(page.ops[1].failed);
  CHECK(page.ops[1].name == "linear");
  CHECK(page.ops[1].path == "1");
  CHECK(page.error.find("linear: ") == 0);
}

TEST_CASE("see: the op that made the NaN is in red, forward") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4));
  CHECK_THROWS_AS(see(kPath, net, [&] { exp(log(net(ones({2, 3})) - 1e6)); }), NumericError);
  const Page page = read_page(kPath);
  REQUIRE(page.ops.size() == 3);
  CHECK(page.ops[2].name == "log");
  CHECK(page.ops[2].failed);
}

TEST_CASE("see: the op whose rule made the Inf is in red") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4));
  const Tensor zero = zeros({4}).requires_grad_();
  CHECK_THROWS_AS(see(kPath, net,
                      [&] {
                        (sqrt(zero) + net(ones({2, 3}))).sum().backward();
                      }),
                  NumericError);
  const Page page = read_page(kPath);
  std::string failed;
  for (const PageOp& op : page.ops)
    if (op.failed) failed += op.name;
  CHECK(failed == "sqrt");
}

TEST_CASE("see: a whole model, whose boxes are its modules") {
  Rng rng(0);
  SmallCnn cnn(rng, {.widths = {4, 4, 4, 8}, .hidden = 8});
  see(kPath, cnn, [&] { cnn(ones({2, 1, 28, 28})).sum().backward(); });
  const Page page = read_page(kPath);
  std::map<std::string, int> paths;
  for (const PageOp& op : page.ops) ++paths[op.path];
  CHECK(paths.count("conv1") == 1);
  CHECK(paths.count("fc2") == 1);
}

TEST_CASE("what see refuses") {
  Rng rng(0);
  Linear layer(rng, 2, 2);
  refuses<ValueError>("see", [&] { see(kPath, layer, {}); });
  refuses<IoError>("see", [&] { see("/nowhere/page.html", layer, [] {}); });
}

TEST_CASE("see: the error of a file names the page too; another exception goes on unchanged") {
  Rng rng(0);
  Linear layer(rng, 2, 2);
  try {
    see(kPath, layer, [] { read_file("/nowhere/data"); });
    FAIL("nothing was thrown");
  } catch (const IoError& e) { CHECK(std::string(e.what()).ends_with(kPath)); }
  read_page(kPath);
  CHECK_THROWS_AS(see(kPath, layer, [] { throw std::out_of_range("x"); }), std::out_of_range);
  std::remove(kPath);
}
