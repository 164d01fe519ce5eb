#pragma once
// 2-d convolution (cross-correlation, as everywhere in deep learning) and its two gradients.
//
// Images are N, H, W, C in memory (channels last), weights O, C/groups, KH, KW as they are stored.
// f64 runs plain loops; f32 chooses by shape among the ways of paths.cpp:
//   winograd4/2  3x3, stride 1: fewer products, more rounding (see winograd.h). LOUPE_WINOGRAD=0
//                turns both off; where numbers are out of their range another way runs.
//   matmul       1x1, stride 1: one matrix product over all pixels of the batch
//   depthwise    one input and one output channel a group: vectors over channels, any kernel size,
//                stride and dilation
//   direct       all else: the matrix micro-kernel on a zero-padded copy of each image
//   plain_...    where some weights (for the weight gradient: some results), but not all, are
//                infinite or NaN the plain loops run: they skip the padding
// Pieces depend on the shape alone: the same bits at any thread limit.
#include <loupe/core/kernels/paths.h>

#include <cstdint>
#include <span>

namespace loupe::kernels {

struct ConvShape {
  int64_t n = 0, c = 0, h = 0, w = 0;  // the input: images, channels, rows, columns
  int64_t o = 0, kh = 1, kw = 1;       // output channels; rows and columns of the kernel
  int64_t sh = 1, sw = 1, ph = 0, pw = 0, dh = 1, dw = 1, groups = 1;  // stride, padding, dilation

  int64_t oh() const { return (h + 2 * ph - dh * (kh - 1) - 1) / sh + 1; }  // rows of the output
  int64_t ow() const { return (w + 2 * pw - dw * (kw - 1) - 1) / sw + 1; }
  int64_t taps() const { return kh * kw; }
  int64_t input_size() const { return n * h * w * c; }
  int64_t output_size() const { return n * oh() * ow() * o; }
  int64_t weight_size() const { return o * (c / groups) * taps(); }
};

/// y[n, i, j, o] = bias[o] + sum over c, a, b of x[n, i sh - ph + a dh, j sw - pw + b dw, c] w[o,
/// c, a, b], zero outside the image; c runs over o's group.
template <class T> struct ConvForward {
  ConvShape shape;
  const T* x = nullptr;     // n, h, w, c
  const T* w = nullptr;     // o, c / groups, kh, kw
  const T* bias = nullptr;  // o, or null
  T* y = nullptr;           // n, oh, ow, o
};
template <class T> void conv_forward(const ConvForward<T>& call);

/// dx from dy: each weight takes dy's pixel back to the pixel of x that it met.
template <class T> struct ConvInputGradient {
  ConvShape shape;
  const T* dy = nullptr;  // n, oh, ow, o
  const T* w = nullptr;   // o, c / groups, kh, kw
  T* dx = nullptr;        // n, h, w, c
};
template <class T> void conv_input_gradient(const ConvInputGradient<T>& call);

/// dw from x and dy: sums over fixed groups of images, added in order.
template <class T> struct ConvWeightGradient {
  ConvShape shape;
  const T* x = nullptr;   // n, h, w, c
  const T* dy = nullptr;  // n, oh, ow, o
  T* dw = nullptr;        // o, c / groups, kh, kw
};
template <class T> void conv_weight_gradient(const ConvWeightGradient<T>& call);

/// The same by plain loops: what the fast ways are tested against.
template <class T> void conv_forward_plain(const ConvForward<T>& call);
template <class T> void conv_input_gradient_plain(const ConvInputGradient<T>& call);
template <class T> void conv_weight_gradient_plain(const ConvWeightGradient<T>& call);

/// The ways of each, in the order in which they are asked. A way that returns false met numbers
/// that it cannot take; the next one that fits runs.
template <class T> using ConvForwardPath = Path<ConvForward<T>, bool>;
template <class T> using ConvInputGradientPath = Path<ConvInputGradient<T>, bool>;
template <class T> using ConvWeightGradientPath = Path<ConvWeightGradient<T>, bool>;
template <class T> std::span<const ConvForwardPath<T>> conv_forward_paths();
template <class T> std::span<const ConvInputGradientPath<T>> conv_input_gradient_paths();
template <class T> std::span<const ConvWeightGradientPath<T>> conv_weight_gradient_paths();

/// Whether Winograd may be chosen; starts from LOUPE_WINOGRAD (default yes).
bool winograd_enabled();
void set_winograd_enabled(bool enabled);

}  // namespace loupe::kernels
