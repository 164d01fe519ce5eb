#pragma once
// 2-d convolution (cross-correlation, as everywhere in deep learning) and its two gradients.
//
// Images are N, H, W, C in memory (channels last), weights O, C/groups, KH, KW as they are stored.
// f64, and whatever no fast kernel takes, runs plain loops; f32 chooses by shape:
//   depthwise    one channel a group: vectors over channels, any kernel size, stride and dilation
//   winograd4/2  3x3, stride 1 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks",
//   2015): fewer
//                products, more rounding (see winograd.h). LOUPE_WINOGRAD=0 turns both off, and
//                numbers out of their range go to `direct`.
//   direct       all else: the matrix micro-kernel on a zero-padded copy of each image. Where some
//                weights are infinite or NaN the plain loops run: they skip the padding.
// Pieces depend on the shape alone: the same bits at any thread limit.
#include <cstdint>

namespace loupe::kernels {

struct ConvShape {
  int64_t n = 0, c = 0, h = 0, w = 0;  // the input: images, channels, rows, columns
  int64_t o = 0, kh = 1, kw = 1;       // output channels; rows and columns of the kernel
  int64_t sh = 1, sw = 1, ph = 0, pw = 0, dh = 1, dw = 1, groups = 1;  // stride, padding, dilation

  int64_t oh() const { return (h + 2 * ph - dh * (kh - 1) - 1) / sh + 1; }  // rows of the output
  int64_t ow() const { return (w + 2 * pw - dw * (kw - 1) - 1) / sw + 1; }
  int64_t taps() const { return kh * kw; }
};

/// y[n, i, j, o] = bias[o] + sum over c, a, b of x[n, i sh - ph + a dh, j sw - pw + b dw, c] w[o,
/// c, a, b], zero outside the image; c runs over o's group. bias may be null.
template <class T>
void conv_forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y);
/// dx from dy (the shape of y).
template <class T> void conv_input_gradient(const ConvShape& s, const T* dy, const T* w, T* dx);
/// dw from dy and x: sums over fixed groups of images, added in order.
template <class T> void conv_weight_gradient(const ConvShape& s, const T* x, const T* dy, T* dw);

/// The same by plain loops: what the fast kernels are tested against.
template <class T>
void conv_forward_plain(const ConvShape& s, const T* x, const T* w, const T* bias, T* y);
template <class T>
void conv_input_gradient_plain(const ConvShape& s, const T* dy, const T* w, T* dx);
template <class T>
void conv_weight_gradient_plain(const ConvShape& s, const T* x, const T* dy, T* dw);

/// Name of the kernel that the calling thread's latest convolution ran: "plain", "direct",
/// "depthwise", "winograd2", "winograd4".
const char* last_conv_kernel();

/// Whether Winograd may be chosen; starts from LOUPE_WINOGRAD (default yes).
bool winograd_enabled();
void set_winograd_enabled(bool enabled);

}  // namespace loupe::kernels
