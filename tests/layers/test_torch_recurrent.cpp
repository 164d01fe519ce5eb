#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/layers/recurrent.h>

#include "torch_case.h"

using namespace loupe;

namespace {

const char* const kFile = "recurrent.safetensors";

Tensors all(const RecurrentResult& r) {
  Tensors y{r.output, r.h};
  if (r.c.defined()) y.push_back(r.c);
  return y;
}

template <class M> Tensors plain(M& m, const Tensors& x) { return all(m(x[0])); }
template <class M> Tensors with_state(M& m, const Tensors& x) {
  return all(m(x[0], SequenceArgs{.h0 = x[1], .c0 = x.size() > 2 ? x[2] : Tensor()}));
}
template <class M> Tensors with_lengths(M& m, const Tensors& x) {
  return all(m(x[0], SequenceArgs{.h0 = x.size() > 2 ? x[2] : Tensor(),
                                  .c0 = x.size() > 3 ? x[3] : Tensor(),
                                  .lengths = x[1]}));
}

template <class M>
void one(const std::string& name, typename M::Options options,
         const std::function<Tensors(M&, const Tensors&)>& call) {
  Rng rng(1);
  fixture::layer_case<M>(name, M(rng, 4, 6, options), fixture::kBound32, call, kFile);
}

template <class M> void cases(const std::string& kind) {
  one<M>(kind, {}, plain<M>);
  one<M>(kind + "_state", {}, with_state<M>);
  one<M>(kind + "_deep", {.num_layers = 3}, with_state<M>);
  one<M>(kind + "_both", {.num_layers = 2, .bidirectional = true}, with_state<M>);
  one<M>(kind + "_nobias", {.bias = false}, plain<M>);
  one<M>(kind + "_first", {.batch_first = true}, plain<M>);
  one<M>(kind + "_unbatched", {}, plain<M>);
  one<M>(kind + "_lengths", {}, with_lengths<M>);
  one<M>(kind + "_lengths_both", {.num_layers = 2, .batch_first = true, .bidirectional = true},
         with_lengths<M>);
}

}  // namespace

TEST_CASE("RNN, LSTM and GRU equal PyTorch's: layers, directions, lengths, states") {
  cases<RNN>("rnn");
  cases<LSTM>("lstm");
  cases<GRU>("gru");
  one<RNN>("rnn_relu", {.nonlinearity = Nonlinearity::relu}, plain<RNN>);
}

TEST_CASE("the cells equal PyTorch's") {
  Rng rng(1);
  const auto single = [](auto& m, const Tensors& x) { return Tensors{m(x[0], x[1])}; };
  fixture::layer_case<RNNCell>("rnncell", RNNCell(rng, 4, 6), fixture::kBound32, single, kFile);
  fixture::layer_case<RNNCell>("rnncell_relu", RNNCell(rng, 4, 6, {}, Nonlinearity::relu),
                               fixture::kBound32, single, kFile);
  fixture::layer_case<GRUCell>("grucell", GRUCell(rng, 4, 6), fixture::kBound32, single, kFile);
  fixture::layer_case<GRUCell>("grucell_nobias", GRUCell(rng, 4, 6, {.bias = false}),
                               fixture::kBound32, single, kFile);
  fixture::layer_case<LSTMCell>(
      "lstmcell", LSTMCell(rng, 4, 6), fixture::kBound32,
      [](LSTMCell& m, const Tensors& x) {
        const LstmState s = m(x[0], LstmState{x[1], x[2]});
        return Tensors{s.h, s.c};
      },
      kFile);
}

TEST_CASE("an LSTM's dropout acts between layers, in training only") {
  Rng rng(2);
  LSTM m(rng, 4, 6, {.num_layers = 2, .dropout = 0.5});
  const Tensor x = randn(rng, {5, 3, 4});
  REQUIRE(!equal(m(x).output, m(x).output));
  eval(m);
  REQUIRE(equal(m(x).output, m(x).output));
  LSTM single(rng, 4, 6, {.dropout = 0.5});
  REQUIRE(equal(single(x).output, single(x).output));
}

TEST_CASE("a call without batch or state starts from zeros; a cell steps through a sequence") {
  Rng rng(3);
  GRU layer(rng, 4, 6);
  GRUCell cell(rng, 4, 6);
  const Recurrent::Weights& w = layer.weights(0);
  no_grad([&] {
    cell.weight_ih.copy_(w.weight_ih);
    cell.weight_hh.copy_(w.weight_hh);
    cell.bias_ih.copy_(w.bias_ih);
    cell.bias_hh.copy_(w.bias_hh);
  });
  const Tensor x = randn(rng, {5, 4});
  const RecurrentResult whole = layer(x);
  Tensor h;
  for (int64_t t = 0; t < 5; ++t) h = cell(x[t], h);
  REQUIRE(whole.output.shape() == Shape{5, 6});
  REQUIRE(allclose(whole.h[0], h, 1e-6, 1e-6));
}

namespace {

// The outputs as a function of x and of the parameters, in order.
template <class M> Tensors of_parameters(M& m, const Tensors& x) {
  for (int64_t layer = 0; layer < 2; ++layer) {
    Recurrent::Weights& w = m.weights(layer);
    const size_t first = 1 + 4 * static_cast<size_t>(layer);
    w = {x[first], x[first + 1], x[first + 2], x[first + 3]};
  }
  return all(m(x[0]));
}

template <class M> void second_derivatives(bool batch_first, const Shape& shape) {
  INFO(to_string(shape) << (batch_first ? " batch first" : ""));
  Rng rng(4);
  M m(rng, 2, 3, {.num_layers = 2, .batch_first = batch_first});
  Tensors x{randn(rng, shape, DType::f64)};
  for (int64_t layer = 0; layer < 2; ++layer) {
    const Recurrent::Weights& w = m.weights(layer);
    for (const Tensor& p : {w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh})
      x.push_back(p.detach().to(DType::f64));
  }
  const auto f = [&m](const Tensors& t) { return of_parameters(m, t); };
  REQUIRE_NOTHROW(gradcheck(f, x));
  REQUIRE_NOTHROW(gradgradcheck(f, x));
}

}  // namespace

TEST_CASE("RNN, LSTM and GRU have second derivatives, batch first, one sequence, no batch") {
  for (const bool batch_first : {false, true})
    for (const Shape& shape : {Shape{3, 2}, Shape{3, 1, 2}, Shape{1, 3, 2}, Shape{2, 3, 2}}) {
      second_derivatives<RNN>(batch_first, shape);
      second_derivatives<LSTM>(batch_first, shape);
      second_derivatives<GRU>(batch_first, shape);
    }
}
