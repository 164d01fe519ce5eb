// Every public class and function of layers called wrongly: the typed error, with a sentence that
// starts with the layer, or with the op it calls.
#include "misuse.h"

#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/check.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/dynamic.h>
#include <loupe/layers/fold.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/init.h>
#include <loupe/layers/interpolate.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/metrics.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/recurrent.h>
#include <loupe/layers/residual.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/small_batch.h>
#include <loupe/layers/state.h>
#include <loupe/layers/transformer.h>

#include <cmath>
#include <limits>

using namespace loupe;
using misuse::refuses;

namespace {

const int64_t kHuge = int64_t{1} << 40;
const Tensor none, f23 = zeros({2, 3}), d23 = zeros({2, 3}, DType::f64),
                   i23 = zeros({2, 3}, DType::i64), scalar0 = scalar(1),
                   image = zeros({2, 4, 6, 6}), i_image = zeros({2, 4, 6, 6}, DType::i64),
                   d_image = zeros({2, 4, 6, 6}, DType::f64);

}  // namespace

TEST_CASE("misuse: RNN, LSTM, GRU and their cells") {
  Rng rng(1);
  for (const int64_t bad : {0, -1}) {
    refuses<ValueError>("LSTM", [&] { LSTM(rng, bad, 2); });
    refuses<ValueError>("GRU", [&] { GRU(rng, 2, bad); });
    refuses<ValueError>("RNN", [&] { RNN(rng, 2, 2, {.num_layers = bad}); });
    refuses<ValueError>("RNNCell", [&] { RNNCell(rng, bad, 2); });
    refuses<ValueError>("GRUCell", [&] { GRUCell(rng, 2, bad); });
    refuses<ValueError>("LSTMCell", [&] { LSTMCell(rng, bad, 2); });
  }
  for (const double bad : {-0.1, 1.1, std::nan("")})
    refuses<ValueError>("LSTM", [&] { LSTM(rng, 2, 2, {.dropout = bad}); });
  LSTM lstm(rng, 3, 4);
  GRU gru(rng, 3, 4, {.num_layers = 2});
  const Tensor x = zeros({5, 2, 3}), h = zeros({1, 2, 4});
  refuses<ShapeError>("LSTM", [&] { lstm(zeros({3})); });
  refuses<ShapeError>("LSTM", [&] { lstm(zeros({5, 2, 4})); });
  refuses<ShapeError>("LSTM", [&] { lstm(x, SequenceArgs{.h0 = zeros({2, 2, 4})}); });
  refuses<ShapeError>("LSTM", [&] { lstm(x, SequenceArgs{.c0 = zeros({1, 3, 4})}); });
  refuses<ValueError>("GRU", [&] { gru(x, SequenceArgs{.c0 = zeros({2, 2, 4})}); });
  refuses<ShapeError>("GRU", [&] { gru(x, SequenceArgs{.lengths = zeros({3}, DType::i64)}); });
  refuses<IndexError>("recurrence",
                      [&] { gru(x, SequenceArgs{.lengths = full({2}, 6, DType::i64)}); });
  // A column of a table: read from a copy, which must live as long as the loop over it.
  const Tensor table = from_data(std::vector<int64_t>{5, 6, 4, 6}, Shape{2, 2});
  refuses<IndexError>("recurrence",
                      [&] { gru(x, SequenceArgs{.lengths = table.t().select(0, 1)}); });
  gru(x, SequenceArgs{.lengths = table.t().select(0, 0)});
  refuses<DtypeError>("recurrence", [&] {
    lstm(x, SequenceArgs{.h0 = zeros({1, 2, 4}, DType::f64)});
  });
  refuses<IndexError>("LSTM", [&] { lstm.weights(1); });
  refuses<IndexError>("LSTM", [&] { lstm.weights(0, true); });
  RNNCell rnn_cell(rng, 3, 4);
  LSTMCell lstm_cell(rng, 3, 4);
  GRUCell gru_cell(rng, 3, 4);
  refuses<ShapeError>("RNNCell", [&] { rnn_cell(x); });
  refuses<ShapeError>("GRUCell", [&] { gru_cell(zeros({2, 3}), zeros({3, 4})); });
  refuses<ShapeError>("LSTMCell", [&] { lstm_cell(zeros({2, 3}), LstmState{.c = h}); });
}

TEST_CASE("misuse: ConvTranspose, kSame, Upsample, momentum and eps are no sentinels") {
  Rng rng(1);
  refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 2, 2, {.stride = 2, .padding = kSame}); });
  refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 2, 2, {.stride = 2, .padding = kSame}); });
  refuses<ValueError>("ConvTranspose2d", [&] { ConvTranspose2d(rng, 2, 0, {}); });
  refuses<ValueError>("ConvTranspose2d",
                      [&] { ConvTranspose2d(rng, 2, 2, {.output_padding = -1}); });
  refuses<ValueError>("ConvTranspose2d", [&] { ConvTranspose2d(rng, 3, 2, {.groups = 2}); });
  refuses<ValueError>("ConvTranspose1d", [&] { ConvTranspose1d(rng, 2, 2, {.stride = 0}); });
  ConvTranspose2d two(rng, 2, 3, {.kernel_size = 3});
  ConvTranspose1d one(rng, 2, 3, {.kernel_size = 3});
  refuses<ShapeError>("conv_transpose2d", [&] { two(zeros({1, 3, 4, 4})); });
  refuses<ShapeError>("conv_transpose1d", [&] { one(zeros({1, 3, 4})); });
  Upsample up({.scale_factor = 2});
  refuses<ShapeError>("interpolate", [&] { up(zeros({3})); });
  for (const double bad : {-1.0, std::nan("")}) {
    refuses<ValueError>("BatchNorm2d", [&] { BatchNorm2d(4, {.eps = bad}); });
    refuses<ValueError>("BatchNorm2d", [&] { BatchNorm2d(4, {.momentum = Momentum(bad)}); });
  }
}

TEST_CASE("misuse: metrics") {
  const Tensor label = zeros({2}, DType::i64), outside = full({2}, 3, DType::i64);
  refuses<ShapeError>("accuracy", [&] { accuracy(zeros({2}), label); });
  refuses<ShapeError>("accuracy", [&] { accuracy(f23, zeros({3}, DType::i64)); });
  refuses<DtypeError>("accuracy", [&] { accuracy(f23, zeros({2})); });
  refuses<IndexError>("accuracy", [&] { accuracy(f23, outside); });
  for (const int64_t bad : {0, 4})
    refuses<ValueError>("top_k_accuracy", [&] { top_k_accuracy(f23, label, bad); });
  refuses<ValueError>("ConfusionMatrix", [] { ConfusionMatrix(0); });
  ConfusionMatrix m(3);
  refuses<ShapeError>("ConfusionMatrix", [&] { m.update(zeros({2, 4}), label); });
  refuses<ShapeError>("ConfusionMatrix", [&] { m.update(zeros({2}), label); });
  refuses<ShapeError>("ConfusionMatrix", [&] { m.update(f23, zeros({3}, DType::i64)); });
  refuses<IndexError>("ConfusionMatrix", [&] { m.update(f23, outside); });
  refuses<IndexError>("ConfusionMatrix", [&] { m.update(outside, label); });
  CHECK(m.total() == 0);
  for (const int64_t bad : {-1, 3}) {
    refuses<IndexError>("ConfusionMatrix", [&] { m.precision(bad); });
    refuses<IndexError>("ConfusionMatrix", [&] { m.recall(bad); });
    refuses<IndexError>("ConfusionMatrix", [&] { m.f1(bad); });
  }
}

TEST_CASE("misuse: Linear, Embedding, Dropout, Flatten") {
  Rng rng(1);
  refuses<ValueError>("Linear", [&] { Linear(rng, -1, 2); });
  refuses<ValueError>("Linear", [&] { Linear(rng, 2, -1); });
  refuses<ShapeError>("empty", [&] { Linear(rng, kHuge, kHuge); });
  refuses<OutOfMemory>("allocate", [&] { Linear(rng, kHuge, 256); });
  Linear linear(rng, 3, 2);
  refuses<ValueError>("tensor", [&] { linear(none); });
  refuses<ShapeError>("linear", [&] { linear(zeros({2, 4})); });
  refuses<ShapeError>("linear", [&] { linear(scalar0); });
  refuses<DtypeError>("linear", [&] { linear(d23); });
  refuses<DtypeError>("linear", [&] { linear(i23); });
  refuses<ShapeError>("linear_relu", [&] { linear_relu(linear, zeros({2, 4})); });
  linear.weight = none;
  refuses<ValueError>("tensor", [&] { linear(f23); });

  refuses<ValueError>("Embedding", [&] { Embedding(rng, -1, 2); });
  refuses<ValueError>("Embedding", [&] { Embedding(rng, 2, -1); });
  refuses<IndexError>("Embedding", [&] { Embedding(rng, 2, 2, {.padding_idx = 2}); });
  refuses<IndexError>("Embedding", [&] { Embedding(rng, 2, 2, {.padding_idx = -3}); });
  Embedding embedding(rng, 5, 2);
  refuses<ValueError>("tensor", [&] { embedding(none); });
  refuses<DtypeError>("embedding", [&] { embedding(f23); });
  refuses<IndexError>("embedding", [&] { embedding(from_data(std::vector<int64_t>{0, 5})); });
  refuses<IndexError>("embedding", [&] { embedding(from_data(std::vector<int64_t>{-1})); });

  for (const double p : {-0.1, 1.1, std::nan("")})
    refuses<ValueError>("Dropout", [&] { Dropout(rng, p); });
  for (const double p : {-0.1, 1.1, std::nan("")}) {
    refuses<ValueError>("Dropout1d", [&] { Dropout1d(rng, p); });
    refuses<ValueError>("Dropout2d", [&] { Dropout2d(rng, p); });
  }
  refuses<ShapeError>("dropout1d", [&] { Dropout1d(rng, 0.5)(image); });
  refuses<ShapeError>("dropout2d", [&] { Dropout2d(rng, 0.5)(f23); });
  Dropout dropout(rng, 0.5);
  refuses<ValueError>("tensor", [&] { dropout(none); });
  refuses<DtypeError>("dropout", [&] { dropout(i23); });
  dropout.p = 2;
  refuses<ValueError>("dropout", [&] { dropout(f23); });

  Flatten flatten;
  refuses<ValueError>("tensor", [&] { flatten(none); });
  refuses<IndexError>("flatten", [&] { flatten(scalar0); });
}

TEST_CASE("misuse: Conv1d and Conv2d") {
  Rng rng(1);
  for (const int64_t bad : {int64_t{0}, int64_t{-3}}) {
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, bad, 4, {.kernel_size = 3}); });
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, bad, {.kernel_size = 3}); });
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, 4, {.kernel_size = bad}); });
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, 4, {.kernel_size = 3, .groups = bad}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, bad, 4, {.kernel_size = 3}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, bad, {.kernel_size = 3}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 4, {.kernel_size = {3, bad}}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 4, {.kernel_size = 3, .groups = bad}); });
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, 4, {.kernel_size = 3, .stride = bad}); });
    refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, 4, {.kernel_size = 3, .dilation = bad}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 4, {.kernel_size = 3, .stride = bad}); });
    refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 4, {.kernel_size = 3, .dilation = bad}); });
  }
  refuses<ValueError>("Conv1d", [&] { Conv1d(rng, 4, 4, {.kernel_size = 3, .padding = -1}); });
  refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 4, {.kernel_size = 3, .padding = -1}); });
  refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 4, 6, {.kernel_size = 3, .groups = 4}); });
  refuses<ValueError>("Conv2d", [&] { Conv2d(rng, 6, 4, {.kernel_size = 3, .groups = 4}); });
  refuses<ShapeError>("empty", [&] { Conv2d(rng, kHuge, kHuge, {.kernel_size = 3}); });
  Conv1d conv1(rng, 4, 2, {.kernel_size = 3});
  refuses<ValueError>("tensor", [&] { conv1(none); });
  refuses<ShapeError>("conv1d", [&] { conv1(image); });
  refuses<ShapeError>("conv1d", [&] { conv1(zeros({2, 3, 8})); });
  refuses<ShapeError>("conv1d", [&] { conv1(zeros({2, 4, 2})); });
  refuses<DtypeError>("conv1d", [&] { conv1(zeros({2, 4, 8}, DType::f64)); });
  Conv2d conv2(rng, 4, 2, {.kernel_size = 3});
  refuses<ValueError>("tensor", [&] { conv2(none); });
  refuses<ShapeError>("conv2d", [&] { conv2(f23); });
  refuses<ShapeError>("conv2d", [&] { conv2(zeros({2, 3, 6, 6})); });
  refuses<ShapeError>("conv2d", [&] { conv2(zeros({2, 4, 2, 6})); });
  refuses<DtypeError>("conv2d", [&] { conv2(d_image); });
  refuses<DtypeError>("conv2d", [&] { conv2(i_image); });
}

TEST_CASE("misuse: norms") {
  const double nan = std::nan("");
  for (const int64_t bad : {int64_t{0}, int64_t{-1}}) {
    refuses<ValueError>("BatchNorm1d", [&] { BatchNorm1d bn(bad); });
    refuses<ValueError>("BatchNorm2d", [&] { BatchNorm2d bn(bad); });
    refuses<ValueError>("InstanceNorm2d", [&] { InstanceNorm2d in(bad); });
    refuses<ValueError>("LayerNorm", [&] { LayerNorm ln(bad); });
    refuses<ValueError>("RMSNorm", [&] { RMSNorm rms(bad); });
    refuses<ValueError>("GroupNorm", [&] { GroupNorm gn(bad, 4); });
    refuses<ValueError>("GroupNorm", [&] { GroupNorm gn(2, bad); });
  }
  refuses<ValueError>("GroupNorm", [&] { GroupNorm gn(3, 4); });
  for (const double eps : {-1e-5, nan}) {
    refuses<ValueError>("BatchNorm2d", [&] { BatchNorm2d bn(4, {.eps = eps}); });
    refuses<ValueError>("InstanceNorm2d", [&] { InstanceNorm2d in(4, {.eps = eps}); });
    refuses<ValueError>("LayerNorm", [&] { LayerNorm ln(4, {.eps = eps}); });
    refuses<ValueError>("RMSNorm", [&] { RMSNorm rms(4, {.eps = eps}); });
    refuses<ValueError>("GroupNorm", [&] { GroupNorm gn(2, 4, {.eps = eps}); });
  }
  for (const double momentum : {-0.5, 1.5, nan}) {
    refuses<ValueError>("BatchNorm1d", [&] { BatchNorm1d bn(4, {.momentum = momentum}); });
    refuses<ValueError>("InstanceNorm2d", [&] { InstanceNorm2d in(4, {.momentum = momentum}); });
  }
  refuses<ValueError>("BatchNorm1d", [&] {
    BatchNorm1d bn(4, {.momentum = std::nullopt, .convention = NormConvention::keras3});
  });
  refuses<ValueError>("LayerNorm", [&] { LayerNorm ln(Shape{}); });
  refuses<ValueError>("RMSNorm", [&] { RMSNorm rms(Shape{}); });
  refuses<ValueError>("LayerNorm", [&] { LayerNorm ln(Shape{4}, {.axes = {1, 2}}); });

  BatchNorm1d bn1(3);
  refuses<ValueError>("tensor", [&] { bn1(none); });
  refuses<ShapeError>("BatchNorm1d", [&] { bn1(image); });
  refuses<ShapeError>("BatchNorm1d", [&] { bn1(zeros({3})); });
  refuses<ShapeError>("batch_norm", [&] { bn1(zeros({2, 4})); });
  refuses<DtypeError>("batch_norm", [&] { bn1(d23); });
  refuses<DtypeError>("batch_norm", [&] { bn1(i23); });
  refuses<ValueError>("batch_norm", [&] {
    bn1(zeros({1, 3}));
  });  // one value a channel has no variance
  refuses<ShapeError>("batch_norm", [&] { bn1(f23, zeros({3}, DType::boolean)); });
  refuses<DtypeError>("batch_norm", [&] { bn1(f23, zeros({2})); });
  refuses<IndexError>("batch_norm", [&] { BatchNorm1d(3, {.axis = 2})(f23); });
  BatchNorm2d bn2(4);
  refuses<ValueError>("tensor", [&] { bn2(none); });
  refuses<ShapeError>("BatchNorm2d", [&] { bn2(f23); });
  refuses<ShapeError>("batch_norm", [&] { bn2(zeros({2, 3, 6, 6})); });
  refuses<DtypeError>("batch_norm", [&] { bn2(d_image); });
  refuses<ShapeError>("BatchNorm2d", [&] { bn_relu(bn2, f23); });
  refuses<ValueError>("tensor", [&] { bn_relu(bn2, none); });
  refuses<ShapeError>("batch_norm_relu", [&] { bn_relu(bn2, zeros({2, 3, 6, 6})); });
  refuses<ShapeError>("BatchNorm2d", [&] { bn_relu_max_pool(bn2, f23); });
  refuses<ValueError>("max_pool2d", [&] { bn_relu_max_pool(bn2, image, 0); });
  refuses<ShapeError>("max_pool2d", [&] { bn_relu_max_pool(bn2, image, 7); });
  const int64_t seen = bn2.num_batches_tracked.item<int64_t>();
  CHECK_THROWS_AS(bn2(d_image), DtypeError);
  CHECK(bn2.num_batches_tracked.item<int64_t>() == seen);  // a refused batch is not counted
  CHECK(bn1(zeros({0, 3})).shape() ==
        Shape{0, 3});  // as in PyTorch: nothing comes out, and nothing is learned
  CHECK(bn1.running_mean.to_vector<float>() == std::vector<float>(3, 0));
  CHECK(bn1.running_var.to_vector<float>() == std::vector<float>(3, 1));

  InstanceNorm2d in(4);
  refuses<ValueError>("tensor", [&] { in(none); });
  refuses<ShapeError>("InstanceNorm2d", [&] { in(f23); });
  refuses<DtypeError>("instance_norm", [&] { InstanceNorm2d(4, {.affine = true})(d_image); });
  refuses<ValueError>("instance_norm", [&] { in(zeros({2, 4, 1, 1})); });
  refuses<ShapeError>("instance_norm", [&] {
    InstanceNorm2d(4, {.affine = true})(zeros({2, 3, 6, 6}));
  });
  GroupNorm gn(2, 4);
  refuses<ValueError>("tensor", [&] { gn(none); });
  refuses<ShapeError>("GroupNorm", [&] { gn(f23); });
  refuses<ShapeError>("GroupNorm", [&] { gn(scalar0); });
  refuses<DtypeError>("group_norm", [&] { gn(d_image); });
  LayerNorm ln(3);
  refuses<ValueError>("tensor", [&] { ln(none); });
  refuses<ShapeError>("layer_norm", [&] { ln(zeros({2, 4})); });
  refuses<ShapeError>("layer_norm", [&] { ln(scalar0); });
  refuses<DtypeError>("layer_norm", [&] { ln(d23); });
  refuses<DtypeError>("layer_norm", [&] { ln(i23); });
  refuses<IndexError>("LayerNorm", [&] { LayerNorm(Shape{3}, {.axes = {2}})(f23); });
  refuses<ShapeError>("layer_norm", [&] { LayerNorm(Shape{3}, {.axes = {0}})(f23); });
  RMSNorm rms(3);
  refuses<ValueError>("tensor", [&] { rms(none); });
  refuses<ShapeError>("rms_norm", [&] { rms(zeros({2, 4})); });
  refuses<DtypeError>("rms_norm", [&] { rms(d23); });
}

TEST_CASE("misuse: folding, and layers in a norm's place") {
  Rng rng(1);
  Conv2d conv(rng, 1, 4, {.kernel_size = 3});
  Linear linear(rng, 3, 4);
  refuses<ValueError>("fuse_conv_bn_eval", [&] { fuse_conv_bn_eval(conv, BatchNorm2d(4)); });
  refuses<ValueError>("fuse_linear_bn_eval", [&] { fuse_linear_bn_eval(linear, BatchNorm1d(4)); });
  BatchNorm2d narrow(3), last(4, {.axis = -1});
  train(narrow, false);
  train(last, false);
  refuses<ShapeError>("fuse_conv_bn_eval", [&] { fuse_conv_bn_eval(conv, narrow); });
  refuses<ValueError>("fuse_conv_bn_eval", [&] { fuse_conv_bn_eval(conv, last); });
  Sequential net(Linear(rng, 3, 4), BatchNorm1d(4));
  refuses<ValueError>("fuse_linear_bn_eval", [&] { fold_batch_norm(net); });
  refuses<IndexError>("Sequential", [&] { net.replace(2, Identity()); });
  refuses<ValueError>("DynamicTanh", [] { DynamicTanh layer(0); });
  refuses<ValueError>("DynamicErf", [] { DynamicErf layer(4, {.alpha_init = std::nan("")}); });
  DynamicTanh dyt(4);
  DynamicErf derf(4);
  refuses<ShapeError>("DynamicTanh", [&] { dyt(zeros({2, 3})); });
  refuses<ShapeError>("DynamicErf", [&] { derf(zeros({2, 3})); });
}

TEST_CASE("misuse: batch norms of small batches, weight standardization, residual branches") {
  Rng rng(1);
  GhostBatchNorm1d ghost(3, {.virtual_batch_size = 4});
  refuses<ShapeError>("GhostBatchNorm1d", [&] { ghost(zeros({2, 3, 4, 4})); });
  refuses<ShapeError>("batch_norm", [&] { ghost(zeros({8, 4})); });
  refuses<ValueError>("GhostBatchNorm1d", [&] {
    ghost(ones({5, 3}));
  });  // a last piece of one sample
  CHECK(ghost.num_batches_tracked.item<int64_t>() == 0);
  CHECK(equal(ghost.running_mean, zeros({3})));
  refuses<ValueError>("GhostBatchNorm2d", [] { GhostBatchNorm2d g(3, {.virtual_batch_size = 0}); });
  refuses<ValueError>("GhostBatchNorm1d",
                      [] { GhostBatchNorm1d g(3, {.batch_norm = {.axis = -1}}); });
  refuses<ValueError>("GhostBatchNorm1d", [] { GhostBatchNorm<1> g(0); });
  BatchRenorm1d renorm(3);
  refuses<ShapeError>("BatchRenorm1d", [&] { renorm(zeros({2, 4})); });
  refuses<ShapeError>("BatchRenorm2d", [] { BatchRenorm2d(3)(zeros({2, 3})); });
  refuses<ValueError>("BatchRenorm1d", [&] { renorm(zeros({1, 3})); });
  refuses<ValueError>("BatchRenorm1d", [&] { renorm(zeros({0, 3})); });
  refuses<ValueError>("BatchRenorm1d", [] { BatchRenorm1d r(3, {.r_max = 0.5}); });
  refuses<ValueError>("BatchRenorm1d", [] { BatchRenorm1d r(3, {.d_max = -1}); });
  refuses<ValueError>("BatchRenorm1d", [] { BatchRenorm1d r(3, {.momentum = 2}); });
  refuses<ValueError>("BatchRenorm2d", [] { BatchRenorm<2> r(0); });
  refuses<ValueError>("BatchRenorm2d", [] { BatchRenorm2d r(2, {.eps = -1}); });
  refuses<ValueError>("WeightStandardizedConv2d", [&] { WeightStandardizedConv2d(rng, 1, 2, {}); });
  refuses<ValueError>("WeightStandardizedConv2d", [&] {
    WeightStandardizedConv2d(rng, 2, 2, {.conv = {.kernel_size = 3}, .eps = -1});
  });
  WeightStandardizedConv2d conv(rng, 2, 2, {.conv = {.kernel_size = 3}});
  refuses<ShapeError>("conv2d", [&] { conv(zeros({1, 3, 5, 5})); });
  refuses<ValueError>("SkipInit", [] { SkipInit layer(std::nan("")); });
  refuses<ValueError>("LayerScale", [] { LayerScale layer(0); });
  refuses<ValueError>("LayerScale", [] { LayerScale layer(2, {.init_values = INFINITY}); });
  refuses<ShapeError>("LayerScale", [] { LayerScale(3)(zeros({2, 4})); });
  refuses<ValueError>("fixup_", [] { init::fixup_({ones({2})}, 4); });
  refuses<ValueError>("fixup_", [] { init::fixup_({ones({2}), ones({2})}, 0); });
}

TEST_CASE("misuse: activations and pooling") {
  const auto floating = [&](auto layer, const char* op) {
    refuses<ValueError>("tensor", [&] { layer(none); });
    refuses<DtypeError>(op, [&] { layer(i23); });
  };
  floating(ReLU(), "relu");
  floating(LeakyReLU(), "leaky_relu");
  floating(GELU(), "gelu");
  floating(SiLU(), "silu");
  floating(Sigmoid(), "sigmoid");
  floating(Tanh(), "tanh");
  floating(Softplus(), "softplus");
  floating(ELU(), "elu");
  floating(CELU(), "celu");
  floating(SELU(), "selu");
  floating(Mish(), "mish");
  floating(Hardswish(), "hardswish");
  floating(Hardsigmoid(), "hardsigmoid");
  floating(Hardtanh(), "hardtanh");
  floating(ReLU6(), "hardtanh");
  floating(LogSigmoid(), "log_sigmoid");
  refuses<ShapeError>("glu", [&] { GLU()(f23); });
  refuses<ShapeError>("swiglu", [&] { SwiGLU()(f23); });
  refuses<ValueError>("celu", [&] { CELU({.alpha = 0})(f23); });
  refuses<ValueError>("hardtanh", [&] { Hardtanh({.min_val = 2})(f23); });
  floating(Softmax(), "softmax");
  floating(LogSoftmax(), "log_softmax");
  refuses<IndexError>("softmax", [&] { Softmax({.dim = 2})(f23); });
  refuses<IndexError>("log_softmax", [&] { LogSoftmax({.dim = -3})(f23); });
  refuses<ValueError>("softplus", [&] { Softplus({.beta = 0})(f23); });

  const auto pooling = [&](auto layer, const char* op, const Tensor& wrong_rank) {
    refuses<ValueError>("tensor", [&] { layer(none); });
    refuses<ShapeError>(op, [&] { layer(wrong_rank); });
    refuses<DtypeError>(op, [&] {
      layer(zeros(wrong_rank.dim() == 2 ? Shape{2, 4, 6, 6} : Shape{2, 4, 6}, DType::i64));
    });
  };
  pooling(MaxPool1d({.kernel_size = 2}), "max_pool1d", image);
  pooling(AvgPool1d({.kernel_size = 2}), "avg_pool1d", image);
  pooling(AdaptiveAvgPool1d(1), "adaptive_avg_pool1d", image);
  pooling(MaxPool2d({.kernel_size = 2}), "max_pool2d", f23);
  pooling(AvgPool2d({.kernel_size = 2}), "avg_pool2d", f23);
  pooling(AdaptiveAvgPool2d(1), "adaptive_avg_pool2d", f23);
  const Tensor line = zeros({2, 4, 6});
  for (const int64_t bad : {int64_t{0}, int64_t{-2}}) {
    refuses<ValueError>("max_pool1d", [&] { MaxPool1d({.kernel_size = bad})(line); });
    refuses<ValueError>("max_pool2d", [&] { MaxPool2d({.kernel_size = bad})(image); });
    refuses<ValueError>("max_pool2d", [&] { MaxPool2d({.kernel_size = 2, .stride = bad})(image); });
    refuses<ValueError>("avg_pool1d", [&] { AvgPool1d({.kernel_size = 2, .stride = bad})(line); });
    refuses<ValueError>("avg_pool2d", [&] { AvgPool2d({.kernel_size = {2, bad}})(image); });
    refuses<ValueError>("adaptive_avg_pool1d", [&] { AdaptiveAvgPool1d{bad}(line); });
    refuses<ValueError>("adaptive_avg_pool2d", [&] { AdaptiveAvgPool2d{Size2(1, bad)}(image); });
  }
  refuses<ShapeError>("max_pool2d", [&] { MaxPool2d({.kernel_size = 7})(image); });
  refuses<ShapeError>("avg_pool1d", [&] { AvgPool1d({.kernel_size = 7})(line); });
  refuses<ValueError>("avg_pool2d", [&] { AvgPool2d({.kernel_size = 2, .padding = 2})(image); });
  refuses<ValueError>("max_pool1d", [&] { MaxPool1d({.kernel_size = 2, .padding = -1})(line); });
}

TEST_CASE("misuse: attention and Transformer layers") {
  Rng rng(1);
  for (const auto& [width, heads] : {std::pair{4, 3}, {4, 0}, {4, -2}, {0, 1}, {-4, 2}})
    refuses<ValueError>("MultiheadAttention",
                        [&, w = width, h = heads] { MultiheadAttention(rng, w, h); });
  refuses<ValueError>("MultiheadAttention",
                      [&] { MultiheadAttention(rng, 4, 2, {.dropout = 1.5}); });
  refuses<ValueError>("MultiheadAttention", [&] { MultiheadAttention(rng, 4, 2, {.kdim = -1}); });
  refuses<ValueError>("MultiheadAttention", [&] { MultiheadAttention(rng, 4, 2, {.vdim = 0}); });
  MultiheadAttention mha(rng, 4, 2);
  const Tensor x = zeros({2, 5, 4}), y = zeros({2, 3, 4});
  refuses<ValueError>("tensor", [&] { mha(none); });
  refuses<ValueError>("tensor", [&] { mha(x, none, x); });
  refuses<ShapeError>("MultiheadAttention", [&] { mha(zeros({2, 5, 3})); });
  refuses<ShapeError>("MultiheadAttention", [&] { mha(zeros({4})); });
  refuses<ShapeError>("MultiheadAttention", [&] { mha(x, y, x); });
  refuses<ShapeError>("MultiheadAttention", [&] { mha(x, zeros({3, 5, 4}), zeros({3, 5, 4})); });
  refuses<ShapeError>("MultiheadAttention", [&] { mha.with_weights(x, y, zeros({2, 3, 5})); });
  refuses<DtypeError>("linear", [&] { mha(x.to(DType::f64)); });
  using Masks = MultiheadAttention::Masks;
  refuses<ShapeError>("MultiheadAttention", [&] {
    mha(x, Masks{.attn_mask = zeros({5, 4}, DType::boolean)});
  });
  refuses<DtypeError>("MultiheadAttention", [&] {
    mha(x, Masks{.attn_mask = zeros({5, 5}, DType::i64)});
  });
  refuses<ShapeError>("MultiheadAttention", [&] {
    mha(x, Masks{.key_padding_mask = zeros({2, 4}, DType::boolean)});
  });
  refuses<DtypeError>("MultiheadAttention", [&] {
    mha(x, Masks{.key_padding_mask = zeros({2, 5}, DType::f64)});
  });

  refuses<ValueError>("MultiheadAttention", [&] { TransformerEncoderLayer(rng, 4, 3); });
  refuses<ValueError>("Linear",
                      [&] { TransformerEncoderLayer(rng, 4, 2, {.dim_feedforward = -1}); });
  refuses<ValueError>("MultiheadAttention",
                      [&] { TransformerEncoderLayer(rng, 4, 2, {.dropout = -1}); });
  refuses<ValueError>("LayerNorm",
                      [&] { TransformerEncoderLayer(rng, 4, 2, {.layer_norm_eps = -1}); });
  TransformerEncoderLayer encoder(rng, 4, 2, {.dim_feedforward = 8});
  refuses<ValueError>("tensor", [&] { encoder(none); });
  refuses<ShapeError>("MultiheadAttention", [&] { encoder(zeros({2, 5, 3})); });
  refuses<DtypeError>("linear", [&] { encoder(x.to(DType::f64)); });
  refuses<ValueError>("MultiheadAttention", [&] { TransformerDecoderLayer(rng, 4, 3); });
  TransformerDecoderLayer decoder(rng, 4, 2, {.dim_feedforward = 8});
  refuses<ValueError>("tensor", [&] { decoder(x, none); });
  refuses<ValueError>("tensor", [&] { decoder(none, x); });
  refuses<ShapeError>("MultiheadAttention", [&] { decoder(x, zeros({2, 5, 3})); });
  refuses<ShapeError>("MultiheadAttention", [&] { decoder(x, zeros({3, 5, 4})); });
}

TEST_CASE("misuse: containers, states and whole models") {
  Rng rng(1);
  Sequential net(Linear(rng, 3, 2), ReLU());
  refuses<IndexError>("Sequential", [&] { net[2]; });
  refuses<ShapeError>("linear_relu", [&] { net(zeros({2, 4})); });
  ModuleList<Linear> list;
  list.push_back(Linear(rng, 3, 2));
  refuses<IndexError>("ModuleList", [&] { list[1]; });
  refuses<ValueError>("ModuleList", [&] { list.call(f23); });  // it has no forward
  TransformerDecoderLayer decoder(rng, 4, 2, {.dim_feedforward = 8});
  refuses<ValueError>("TransformerDecoderLayer", [&] { decoder.call(zeros({2, 5, 4})); });

  Linear other(rng, 3, 4);
  const StateDict state = state_dict(net);
  refuses<ValueError>("load_state_dict", [&] { load_state_dict(net, {}); });
  refuses<ValueError>("load_state_dict", [&] { load_state_dict(net, state_dict(other)); });
  refuses<ValueError>("load_state_dict", [&] {
    load_state_dict(other, {{"weight", f23}, {"bias", zeros({4})}});
  });
  refuses<ValueError>("load_state_dict", [&] {
    load_state_dict(other, {{"weight", none}, {"bias", zeros({4})}});
  });
  refuses<ValueError>("load_state_dict", [&] {
    load_state_dict(other, {{"weight", zeros({4, 3}, DType::i64)}, {"bias", zeros({4})}});
  });
  refuses<ValueError>("load_state_dict", [&] {
    load_state_dict(other, {{"weight", zeros({4, 3})}, {"bias", zeros({4})}},
                    {.prefix = "module."});
  });
  refuses<ValueError>("load_state_dict", [&] {
    load_state_dict(other,
                    {{"weight", zeros({4, 3})}, {"weight", zeros({4, 3})}, {"bias", zeros({4})}});
  });
  refuses<ValueError>("load_state_dict", [&] { copy_state(net, other); });
  refuses<DtypeError>("to", [&] { to(net, DType::i64); });
  CHECK(parameters(net)[0].dtype() == DType::f32);
  refuses<ValueError>("tensor", [&] { summary(net, none); });
  refuses<ShapeError>("linear", [&] { summary(net, zeros({2, 4})); });
  CHECK_FALSE(net.has_forward_hooks());  // a summary that fails leaves none of its hooks
  CHECK(net.is_training());
  // What cannot be misused answers for a module without anything, too.
  Sequential nothing;
  CHECK(named_parameters(nothing).empty());
  CHECK(parameters(nothing).empty());
  CHECK(named_buffers(nothing).empty());
  CHECK(named_streams(nothing).empty());
  CHECK(named_modules(nothing).size() == 1);
  CHECK(parameter_count(nothing) == 0);
  train(nothing), eval(nothing), zero_grad(nothing), requires_grad_(nothing, false);
  CHECK(nothing(f23).is_same(f23));
  refuses<ValueError>("add_forward_hook", [&] { nothing.add_forward_hook({}); });
  refuses<ValueError>("add_forward_hook", [&] { HookScope scope(nothing, {}); });
  refuses<ValueError>("add_forward_pre_hook", [&] { nothing.add_forward_pre_hook({}); });
  refuses<ValueError>("add_backward_hook", [&] { nothing.add_backward_hook({}); });
  refuses<ValueError>("add_backward_pre_hook", [&] { nothing.add_backward_pre_hook({}); });
  HookHandle().remove();  // a handle of nothing does nothing
  refuses<ValueError>("check_model", [&] { check_model(other, std::function<Tensor()>()); });
  refuses<GradError>("check_model",
                     [&] { check_model(other, f23, [](const Tensor& y) { return y; }); });
  refuses<GradError>("check_model", [&] { check_model(other, [] { return Tensor(); }); });
  refuses<ShapeError>("linear", [&] { check_model(other, zeros({2, 5})); });
  CHECK(to_string(check_model(other, f23)).find("2 parameters") != std::string::npos);
  CHECK(name(ModelCheck::Kind::dead) == std::string("dead"));
  CHECK_FALSE(nothing.has_forward_hooks());
}

TEST_CASE("misuse: initialisation") {
  Rng rng(1);
  const double nan = std::nan("");
  refuses<ShapeError>("init", [&] { init::kaiming_uniform_(zeros({3}), rng); });
  refuses<ShapeError>("init", [&] { init::kaiming_normal_(zeros({3}), rng); });
  refuses<ShapeError>("init", [&] { init::xavier_uniform_(zeros({3}), rng); });
  refuses<ShapeError>("init", [&] { init::xavier_normal_(zeros({3}), rng); });
  refuses<ShapeError>("orthogonal_", [&] { init::orthogonal_(zeros({3}), rng); });
  refuses<ShapeError>("eye_", [&] { init::eye_(zeros({3})); });
  refuses<ValueError>("trunc_normal_", [&] { init::trunc_normal_(f23, rng, {.a = 2}); });
  refuses<ValueError>("trunc_normal_", [&] { init::trunc_normal_(f23, rng, {.a = nan}); });
  refuses<ValueError>("trunc_normal_", [&] { init::trunc_normal_(f23, rng, {.std = 0}); });
  refuses<ValueError>("tensor", [&] { init::constant_(none, 1); });
  refuses<ValueError>("tensor", [&] { init::zeros_(none); });
  refuses<ValueError>("tensor", [&] { init::ones_(none); });
  refuses<ValueError>("uniform", [&] { init::uniform_(f23, rng, 1, 0); });
  refuses<ValueError>("normal_", [&] { init::normal_(f23, rng, 0, -1); });
  refuses<ValueError>("uniform", [&] {
    init::xavier_uniform_(f23, rng, init::calculate_gain(init::Nonlinearity::leaky_relu, nan));
  });
  refuses<ShapeError>("init", [&] { init::kaiming_normal_(scalar0, rng); });
  refuses<ShapeError>("init", [&] { init::bias_for(zeros({3}), zeros({3}), rng); });
  refuses<ShapeError>("init", [&] { init::fan_in(zeros({3})); });
  refuses<ShapeError>("init", [&] { init::fan_out(zeros({3})); });
  refuses<ValueError>("tensor", [&] { init::normal_(none, rng); });
  refuses<ValueError>("tensor", [&] { init::uniform_(none, rng, 0, 1); });
  refuses<ValueError>("tensor", [&] { init::kaiming_uniform_(none, rng); });
  refuses<DtypeError>("randn", [&] { init::normal_(zeros({3}, DType::i64), rng); });
  refuses<DtypeError>("uniform", [&] { init::uniform_(zeros({3}, DType::i64), rng, 0, 1); });
  refuses<ValueError>("uniform", [&] { init::kaiming_uniform_(f23, rng, {.a = nan}); });
  refuses<ValueError>("uniform", [&] { init::xavier_uniform_(f23, rng, -1); });
  refuses<ValueError>("normal_", [&] { init::normal_(f23, rng, 0, nan); });
}
